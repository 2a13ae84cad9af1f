"""The state of everything that could move a number: packages and checkout."""

import subprocess
from pathlib import Path

from genemamba_sc.benchmark import installed_versions


def versions(further: tuple[str, ...] = ()) -> dict[str, str]:
    """Of everything that could move a number; ``further`` names packages that a room needs beside these."""
    return installed_versions(further) | {"commit": commit()}


def commit() -> str:
    """The state of the checkout, ``-dirty`` where files differ from it: one version has many states in development."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
