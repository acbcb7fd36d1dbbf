"""`python -m srdeploy` is the command `srdeploy`."""

from srdeploy.cli import main

main()
