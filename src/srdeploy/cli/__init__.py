"""The command line: one module for each verb, and nothing heavy imported before a verb needs it."""

from srdeploy.cli.app import main

__all__ = ["main"]
