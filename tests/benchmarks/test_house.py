"""The house of the benchmarks: rooms with results, scripts that need no private module of the package."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.rglob("*.py"))


def modules_of(code: str) -> set[str]:
    """Every module of the package that code imports, with the imported names, which may be modules too."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "genemamba_sc"}


def private(names: set[str]) -> list[str]:
    return sorted(name for name in names if any(part.startswith("_") and part[1:2] != "_" for part in name.split(".")))


def test_a_private_import_is_recognised_in_every_form():
    code = "import genemamba_sc._a\nfrom genemamba_sc.b._c import d\nfrom genemamba_sc.e import _f, g\nimport _h\n"
    assert private(modules_of(code)) == ["genemamba_sc._a", "genemamba_sc.b._c.d", "genemamba_sc.e._f"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(BENCHMARKS).as_posix())
def test_no_benchmark_imports_a_private_module(script: Path):
    assert private(modules_of(script.read_text(encoding="utf-8"))) == []


def test_every_import_of_a_script_is_a_script_or_a_declared_package():
    project = tomllib.loads((BENCHMARKS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    names = {re.match(r"[\w.-]+", one).group().lower().replace("-", "_") for one in declared}
    # Import names that differ, peers that a script asks for by name, and what comes with a declared package.
    names |= {"captum", "czbenchmarks", "datasets", "genemamba_sc", "scvi", "sklearn"}
    names |= set(sys.stdlib_module_names) | {script.stem for script in SCRIPTS}
    unknown = {}
    for script in SCRIPTS:
        tree = ast.parse(script.read_text(encoding="utf-8"))
        found = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        found |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        if left := sorted({name.split(".")[0] for name in found} - names):
            unknown[script.relative_to(BENCHMARKS).as_posix()] = left
    assert unknown == {}


def test_every_script_and_table_has_a_room():
    files = [path.relative_to(BENCHMARKS) for path in BENCHMARKS.rglob("*") if path.is_file()]
    kept = [path for path in files if "__pycache__" not in path.parts and path.name != "README.md"]
    assert {path.parts[0] for path in kept} == {
        "annotation",
        "genes",
        "harnesses",
        "integration",
        "pretraining",
        "robustness",
        "speed",
    }
    tables = {path for path in kept if path.suffix in (".md", ".jsonl")}
    assert {path.parts[1] for path in tables} == {"results"}


@pytest.mark.parametrize(
    "script",
    [
        "annotation/run.py",
        "genes/run.py",
        "pretraining/plan.py",
        "pretraining/scaling.py",
        "speed/encoder.py",
        "speed/stores.py",
        "integration/mapping.py",
        "robustness/fuzz.py",
        "robustness/soak.py",
    ],
)
def test_a_script_finds_its_neighbours_when_it_is_run_by_its_path(script: str):
    command = [sys.executable, str(BENCHMARKS / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
