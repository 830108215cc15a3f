"""`python -m rewarden`."""

from rewarden.cli import main

main()
