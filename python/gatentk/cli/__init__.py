"""The command `gatentk`: the only part of the package that knows flags."""

import sys

from gatentk.errors import MissingExtraError
from gatentk.extras import imports

__all__ = ["main"]

try:
    with imports("cli", "gatentk"):
        from gatentk.cli.main import main
except MissingExtraError as error:
    _missing = str(error)

    def main() -> None:  # type: ignore[misc]
        """Say what is missing, in one line."""
        sys.exit(f"Error: {_missing}")
