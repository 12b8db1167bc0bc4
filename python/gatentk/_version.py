"""The version, apart so that modules need not import the whole package for it."""

__version__ = "0.1.0"
