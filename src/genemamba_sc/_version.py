"""Hold the version and nothing else: programs that must not import the package read this file."""

__version__ = "0.1.0"
