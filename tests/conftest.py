"""Fixtures: real data where it lies, and tiny cells made here."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets; the test is skipped where there is none."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GENEMAMBA_TEST_DATA", default))
    if not (folder / "cells").is_dir():
        pytest.skip(f"no real data at {folder}; set GENEMAMBA_TEST_DATA to the folder that holds cells/ and genes/")
    return folder
