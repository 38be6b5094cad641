"""`tasuki enroll`: a member makes its keys itself, asks to be let in, and takes the answer."""
