"""The version; that of the program must be the same."""
__version__ = "0.1.0"
