"""`python -m pruneguard`."""

from pruneguard.cli import main

main()
