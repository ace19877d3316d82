"""``python -m allsky360.cli``."""

from allsky360.cli import main

main()
