"""The command `gatentk`: the only part of the package that knows flags."""

import sys

__all__ = ["main"]

_failure: "tuple[str, int] | None" = None
try:
    from gatentk.errors import MissingExtraError
    from gatentk.extras import imports

    try:
        with imports("cli", "gatentk"):
            from gatentk.cli.main import main
    except MissingExtraError as error:
        _failure = str(error), 1
except KeyboardInterrupt:  # before there is a command that could say so
    _failure = "interrupted", 130

if _failure is not None:

    def main(*_: object, **__: object) -> None:  # type: ignore[misc]
        """Say in one line why there is no command."""
        reason, code = _failure or ("", 1)
        print(f"Error: {reason}", file=sys.stderr)
        sys.exit(code)
