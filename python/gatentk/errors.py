"""Exceptions of the package; bad arguments raise plain TypeError and ValueError."""


class GateNTKError(Exception):
    """Base of all exceptions that only this package raises."""


class DataError(GateNTKError):
    """A data set is missing or its file is damaged; the message names the file and what to do."""


class RunError(GateNTKError):
    """A run cannot start or go on as asked; the message says what to change, with arguments as `name=value`."""


class StudyError(RunError):
    """A study cannot start or go on as asked; the message says what to change."""


class TrainingError(RunError):
    """A training cannot start or go on as asked; the message says what to change."""


class FitError(RunError):
    """A fit cannot start or go on as asked; the message says what to change."""


class DrawingWarning(UserWarning):
    """Something could not be drawn, or a drawing not be written; all numbers are in their files."""


class SpectrumError(GateNTKError, ValueError):
    """A matrix is not what a spectrum is defined for: not symmetric, not finite, or indefinite."""


class UnresolvedSpectrumError(GateNTKError, ArithmeticError):
    """The smallest eigenvalue lies below the noise floor n * eps * lambda_max, so kappa is unknown."""


class UnsupportedModuleError(GateNTKError, TypeError):
    """A module has no layerwise NTK here; the message names the part and the method that works."""


class GateTableError(GateNTKError, ValueError):
    """A gate table or its file does not fit: foreign, damaged, or of another gate network."""


class NetworkFileError(GateNTKError, ValueError):
    """Files of a network do not fit: damaged, of another network or of none, or of a newer version of this package."""


class CudaMissingError(GateNTKError, RuntimeError):
    """A CUDA tensor came and this installation has no CUDA kernels; the message says how to get them."""


class MissingExtraError(GateNTKError, ImportError):
    """A package is missing that only this function or command needs; the message says how to install it."""


class NoiseFloorWarning(UserWarning):
    """Eigenvalues of a kernel lie below the noise floor n * eps * lambda_max, and that matters for what was asked."""
