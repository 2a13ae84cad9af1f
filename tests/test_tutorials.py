"""The notebooks of tutorials/: as they are committed, and run anew.

After a change of a notebook: ``jupyter execute --inplace tutorials/NAME.ipynb``, with the extras test and docs.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
MOST_BYTES = 400_000
OF_A_MACHINE = re.compile(r"(?<![\w.])/(home|root|tmp|Users|mnt)\b|(?<![\w.<:/)])/\w+/\w|\b[A-Z]:\\")
# The packages that a notebook needs come with the package or its test extra, except here.
NEEDS = {"integrate": ("scib_metrics", "harmonypy")}
CELLS = re.compile(r'read_h5ad\("(\w+\.h5ad)"\)')
WITHOUT_NETWORK = """
import socket

def refuse(*arguments):
    raise AssertionError("a tutorial must not need the network")

socket.socket.connect = socket.getaddrinfo = refuse
"""

# Minutes of training: their own command is `pytest -m slow`.
SLOW = {"large_data", "pretrain"}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def texts(path: Path) -> Iterator[str]:
    """All sources and all outputs that are text; pictures are left out, for base64 may spell anything."""
    for cell in nbformat.read(path, as_version=4).cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (text for kind, text in output.get("data", {}).items() if kind.startswith("text/"))


def test_the_documentation_lists_every_notebook():
    index = (ROOT / "docs" / "tutorials" / "index.md").read_text(encoding="utf-8")
    assert NOTEBOOKS
    assert [path.stem for path in NOTEBOOKS if f"{{doc}}`{path.stem}`" not in index] == []


@each_notebook
def test_a_notebook_was_run_from_top_to_bottom(path: Path):
    nbformat.validate(nbformat.read(path, as_version=4))
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


@each_notebook
def test_a_notebook_shows_neither_errors_nor_warnings(path: Path):
    outputs = [output for cell in code_cells(path) for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []


@each_notebook
def test_a_notebook_names_no_path_of_the_machine_it_was_run_on(path: Path):
    assert [text for text in texts(path) if OF_A_MACHINE.search(text)] == []


@pytest.mark.parametrize("text", ["/home/me/cells.h5ad", "in /tmp/x", r"C:\Users", '"/any/where"'])
def test_a_path_of_a_machine_is_recognised(text: str):
    assert OF_A_MACHINE.search(text)


@each_notebook
def test_a_notebook_is_small(path: Path):
    assert path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] if path.stem in SLOW else [], id=path.stem) for path in NOTEBOOKS],
)
def test_the_code_of_a_notebook_runs_without_a_network(path: Path, tmp_path: Path, request: pytest.FixtureRequest):
    for package in NEEDS.get(path.stem, ()):
        pytest.importorskip(package)
    code = "\n\n".join(cell.source for cell in code_cells(path))
    for name in set(CELLS.findall(code)):
        (tmp_path / name).symlink_to(request.getfixturevalue("real_data") / "cells" / name)
    script = tmp_path / f"{path.stem}.py"
    script.write_text(f"{WITHOUT_NETWORK}\n\n{code}", encoding="utf-8")
    one_thread = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, **one_thread, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
