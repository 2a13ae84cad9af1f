"""Provide the command line ``genemamba``: one file per command, and nothing heavy before a command runs."""

from genemamba_sc.cli._main import main

__all__ = ["main"]
