"""`python -m mprnet`: the command line, where the command itself is not on the path."""

from mprnet.cli import main

main()
