"""The version, and nothing else: it is read by what must not import the package."""

__version__ = "0.1.0"
