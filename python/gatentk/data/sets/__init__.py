"""Data sets: a module for each, or for those that share a reader, which declares `ENTRIES` and says what they hold.

Modules are found here by `gatentk.data.registry`. They import numpy, readers and other packages inside the functions
that need them, because the command line reads every entry for its help texts.
"""
