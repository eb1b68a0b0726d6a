"""`python -m capacity.cli` is `capacity` without an installation."""

from capacity.cli.main import main

main()
