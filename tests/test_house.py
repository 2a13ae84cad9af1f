"""The house: what a reader, an installer and an importer may rely on."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import genemamba_sc

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "genemamba_sc"
SOURCES = sorted(PACKAGE.rglob("*.py"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

MOST_LINES = 300
# Each of these costs seconds, or a device, to import; nobody who asks for help or a version should wait for it.
HEAVY = (
    "scvi",
    "scanpy",
    "scib_metrics",
    "mamba_ssm",
    "triton",
    "causal_conv1d",
    "lightning",
    "transformers",
    "numba",
    "torch.cuda",
)


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported_modules(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


def calls_print(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        for node in ast.walk(tree)
    )


def relative(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


def requirement_names(requirements: list[str]) -> set[str]:
    return {re.match(r"[A-Za-z0-9._-]+", requirement).group().lower() for requirement in requirements}


def test_importing_the_package_loads_nothing_heavy_and_warns_about_nothing():
    loaded = run_python("import sys, genemamba_sc; print(*sorted(sys.modules))").split()
    assert "genemamba_sc" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_listing_the_public_names_loads_nothing_heavy():
    loaded = run_python("import sys, genemamba_sc; dir(genemamba_sc); print(*sorted(sys.modules))").split()
    assert [name for name in HEAVY if name in loaded] == []


def test_an_unknown_public_name_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="has no attribute 'GeneMamber'"):
        _ = genemamba_sc.GeneMamber


def test_the_public_names_are_sorted_and_unique():
    assert list(genemamba_sc.__all__) == sorted(set(genemamba_sc.__all__))


@pytest.mark.parametrize(
    "name", ["BiMambaEncoder", "CellSource", "GeneMambaModule", "GeneMambaPlan", "Tokens", "ssd_scan"]
)
def test_a_name_that_moved_is_still_there_and_warns_where_it_is_used(name: str):
    with pytest.warns(FutureWarning, match=f"{name} has moved .* from genemamba_sc\\..* import {name}") as caught:
        value = getattr(genemamba_sc, name)
    assert value.__name__ == name
    assert caught[0].filename == __file__
    assert name not in genemamba_sc.__all__


def test_making_tokens_loads_no_torch_and_no_scvi_tools():
    loaded = run_python("import sys, genemamba_sc.corpus._pieces; print(*sorted(sys.modules))").split()
    assert "genemamba_sc.data.tokens._tokenizer" in loaded
    assert [name for name in ("torch", "scvi", "lightning", "sklearn", "scanpy") if name in loaded] == []


def test_a_type_checker_sees_real_types(tmp_path: Path):
    script = tmp_path / "user.py"
    script.write_text(
        "import genemamba_sc as gm\n"
        "model = gm.GeneMambaModel.load('folder')\n"
        "reveal_type(model)\n"
        "reveal_type(gm.PlanConfig(lr=1e-3).lr)\n"
        "reveal_type(gm.pretrain)\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", "", "--ignore-missing-imports", "--cache-dir"]
    done = subprocess.run(
        [*command, str(tmp_path), "--follow-imports=silent", "--disable-error-code=name-defined", str(script)],
        capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
    )  # fmt: skip
    if "No module named mypy" in done.stderr:
        pytest.skip("mypy is not installed beside this Python")
    revealed = re.findall(r'Revealed type is "([^"]+)"', done.stdout)
    assert len(revealed) == 3, done.stdout + done.stderr
    assert revealed[0].endswith("GeneMambaModel")
    assert revealed[1] == "float" or revealed[1] == "builtins.float"
    assert revealed[2].startswith("def (corpus: ")


@pytest.mark.parametrize("name", [name for name in genemamba_sc.__all__ if not name.startswith("__")])
def test_a_public_name_has_a_docstring_of_its_own(name: str):
    # An annotation-only dataclass would get its signature as docstring: that says nothing.
    doc = getattr(genemamba_sc, name).__doc__ or ""
    assert len(doc.split()) >= 3
    assert not doc.startswith(f"{name}(")


def test_pages_name_test_files_that_are_there():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    named = {
        (page.name, path)
        for page in pages
        for path in re.findall(r"\btests/[a-z_/]+\.py", page.read_text(encoding="utf-8"))
    }
    assert len(named) > 5
    # An example of how to write one.
    missing = {path for _, path in named if not (ROOT / path).is_file()} - {"tests/tl/relations/test_typical_genes.py"}
    assert missing == set()


def test_the_api_page_lists_every_public_name():
    listed = set((ROOT / "docs" / "api.md").read_text(encoding="utf-8").split())
    assert [name for name in genemamba_sc.__all__ if not name.startswith("__") and name not in listed] == []


def test_the_version_is_the_same_in_pyproject_package_and_citation():
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert PYPROJECT["project"]["version"] == genemamba_sc.__version__
    assert citation is not None
    assert citation.group(1) == genemamba_sc.__version__


def test_the_changelog_has_an_entry_for_what_is_released_or_coming():
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"Unreleased", genemamba_sc.__version__} & set(headings)


def test_no_source_file_is_longer_than_a_reader_can_hold():
    long = [path for path in SOURCES if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES]
    assert SOURCES
    assert relative(long) == []


def test_only_the_command_line_prints():
    assert (
        relative([path for path in SOURCES if calls_print(path) and "cli" not in path.relative_to(PACKAGE).parts]) == []
    )


def test_no_source_file_reads_or_writes_pickles():
    banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    assert relative([path for path in SOURCES if imported_modules(path) & banned]) == []


def test_the_layers_hold():
    lint_imports = Path(sys.executable).with_name("lint-imports")
    command = [str(lint_imports), "--no-cache"] if lint_imports.exists() else None
    if command is None:
        pytest.skip("lint-imports is not installed beside this Python")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout)


def test_every_tested_dependency_has_a_tested_version():
    extras = PYPROJECT["project"]["optional-dependencies"]
    tested = [
        *PYPROJECT["project"]["dependencies"],
        *(r for e in ("benchmark", "harmony", "test", "lint", "docs") for r in extras[e]),
    ]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = requirement_names([line for line in lines if "==" in line])
    # Each PyTorch for GPUs asks for one Triton: a version named here would be another one for some of them.
    assert sorted(requirement_names(tested) - pinned) == ["triton"]


# Import name -> name on the package index, where the two differ.
DISTRIBUTIONS = {
    "mamba_ssm": "mamba-ssm",
    "scib_metrics": "scib-metrics",
    "scvi": "scvi-tools",
    "sklearn": "scikit-learn",
}


def test_every_imported_package_is_declared():
    imported = {name.split(".")[0] for path in SOURCES for name in imported_modules(path)}
    others = imported - set(sys.stdlib_module_names) - {"genemamba_sc"}
    project = PYPROJECT["project"]
    extras = [
        r
        for e in ("cuda", "corpus", "hub", "graphs", "benchmark", "triton", "harmony")
        for r in project["optional-dependencies"][e]
    ]
    users = [*project["dependencies"], *extras]
    assert {"numpy", "torch"} <= others
    assert sorted({DISTRIBUTIONS.get(name, name) for name in others} - requirement_names(users)) == []


# scanpy imports it, and states no upper bound.
ONLY_BOUNDED = {"pynndescent"}


def test_every_dependency_that_installs_is_imported():
    imported = {name.split(".")[0] for path in SOURCES for name in imported_modules(path)}
    names = {DISTRIBUTIONS.get(name, name) for name in imported}
    assert sorted(requirement_names(PYPROJECT["project"]["dependencies"]) - names - ONLY_BOUNDED) == []


def test_the_page_for_developers_has_every_room():
    page = (ROOT / "docs" / "developers.md").read_text(encoding="utf-8")
    rooms = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    assert len(rooms) > 10
    assert [room for room in rooms if f"\n  {room}/ " not in page] == []


def test_workflows_run_what_anyone_can_run_and_pin_what_they_use():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml"))
    commands = [line.strip(" -") for line in text.splitlines() if line.strip(" -").startswith("run:")]
    assert {command.split()[1:3][-1] for command in commands} == {".ci/run", ".ci/stacks", "-f"}  # -f: the tag's wheel
    actions = re.findall(r"uses: (\S+)", text)
    assert actions
    assert [action for action in actions if not re.search(r"@(v|release/v)\d+$", action)] == []


def test_readme_and_continuous_integration_run_the_same_test_command():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = re.search(r"^  (python -m pytest.*?) 2>&1", script, re.MULTILINE)
    assert command is not None
    for page in ("README.md", "CONTRIBUTING.md"):
        lines = [line.strip() for line in (ROOT / page).read_text(encoding="utf-8").splitlines()]
        assert command.group(1) in lines, f"{page} does not have the line {command.group(1)!r}"
