"""``python -m platoon.cli``: the command line without the installed script."""

from platoon.cli.main import main

main()
