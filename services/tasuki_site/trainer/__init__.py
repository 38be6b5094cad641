"""The trainer's side of a site: how the user's code is started, fed, heard and ended."""
