"""What a member signs, seals and believes. Needs no broker and no clock of its own."""
