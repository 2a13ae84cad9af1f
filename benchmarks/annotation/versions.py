"""The state of everything that could move a number: packages and checkout."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("genemamba-sc", "scvi-tools", "torch", "scanpy", "anndata", "scikit-learn", "numpy")


def versions(further: tuple[str, ...] = ()) -> dict[str, str]:
    """Of everything that could move a number; ``further`` names packages that a room needs beside these."""
    found = {"python": platform.python_version(), "commit": commit()}
    for name in (*PACKAGES, *further):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> str:
    """The state of the checkout, ``-dirty`` where files differ from it: one version has many states in development."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
