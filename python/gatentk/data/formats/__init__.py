"""Readers of file formats: each checks a file's sizes before it allocates, and runs nothing that a file contains.

A file that is damaged gives a `DataError` that names it.
"""
