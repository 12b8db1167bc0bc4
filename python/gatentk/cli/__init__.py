"""The command `gatentk`: the only part of the package that knows flags."""

from gatentk.cli.main import main

__all__ = ["main"]
