"""What a training refuses."""

from gatentk.errors import RunError


class TrainingError(RunError):
    """A training cannot start or go on as asked; the message says what to change."""
