"""The command `gatentk`: the only part of the package that knows flags."""

import sys

from gatentk.errors import MissingExtraError
from gatentk.extras import imports

__all__ = ["main"]

try:
    with imports("cli", "gatentk"):
        from gatentk.cli.main import main
except (MissingExtraError, KeyboardInterrupt) as error:
    _reason, _code = (str(error), 1) if isinstance(error, MissingExtraError) else ("interrupted", 130)

    def main() -> None:  # type: ignore[misc]
        """Say why there is no command, in one line."""
        print(f"Error: {_reason}", file=sys.stderr)
        sys.exit(_code)
