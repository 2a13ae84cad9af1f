"""Let Open Problems' own components of batch integration score the files of `write_openproblems.py`.

git clone https://github.com/openproblems-bio/task_batch_integration  # 8aa0472 of 2026-08-21 was used
pip install scib==1.1.7 igraph leidenalg
python benchmarks/harnesses/run_openproblems.py task_batch_integration /tmp/openproblems

A component is a script whose arguments stand between two marks; viash puts those of a run there, and so does this file.
"""

import contextlib
import io
import re
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anndata as ad

METHODS = ("genemamba_mini", "no_integration")
# Those in Python that need nothing but scib, and give what they need in their own files.
METRICS = (
    "asw_batch",
    "asw_label",
    "clustering_overlap",
    "graph_connectivity",
    "isolated_label_asw",
    "isolated_label_f1",
    "lisi",
    "pcr",
)
RESOLUTIONS = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
_ARGUMENTS = re.compile(r"## VIASH START.*?## VIASH END", re.DOTALL)


def run(component: Path, resources: Path, arguments: dict[str, Any]) -> None:
    """Run the script of a component with these arguments; what it prints is kept back."""
    script = (component / "script.py").read_text(encoding="utf-8")
    meta = {"name": component.name, "resources_dir": str(resources), "cpus": 1}
    filled, n = _ARGUMENTS.subn(lambda _: f"par = {arguments!r}\nmeta = {meta!r}", script)
    if n != 1:
        raise ValueError(f"A component has its arguments between two marks. Got {component}. Check out 8aa0472.")
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(filled, component / "script.py", "exec"), {"__name__": "__main__"})


def scores(source: Path, folder: Path, method: str) -> dict[str, float | str]:
    """Run the steps of the task on what a method wrote; a metric that fails is named on stderr."""
    utils, processed = source / "utils", folder / f"{method}_processed.h5ad"
    inputs = {"input_dataset": str(folder / "dataset.h5ad"), "input_integrated": str(folder / f"{method}.h5ad")}
    run(
        source / "data_processors" / "transform",
        utils,
        {**inputs, "expected_method_types": ["embedding"], "output": str(processed)},
    )
    found: dict[str, float | str] = {}
    for metric in METRICS:
        out = folder / f"{method}_{metric}.h5ad"
        arguments = {"input_integrated": str(processed), "input_solution": str(folder / "solution.h5ad")}
        try:
            run(source / "metrics" / metric, utils, {**arguments, "resolutions": RESOLUTIONS, "output": str(out)})
        except Exception as error:  # noqa: BLE001 - it is printed, and the other metrics go on
            print(f"{metric}: {type(error).__name__}: {error}", file=sys.stderr)
            found[metric] = "failed"
            continue
        told = ad.read_h5ad(out).uns
        found |= dict(zip(told["metric_ids"], map(float, told["metric_values"])))
    return found


def main(checkout: str, out: str) -> None:
    warnings.simplefilter("ignore")
    found = {method: scores(Path(checkout) / "src", Path(out), method) for method in METHODS}
    names = ("scib", "scanpy", "anndata", "numpy")
    print(", ".join(f"{name} {version(name)}" for name in names) + f", Python {sys.version.split()[0]}\n")
    print(f"| metric | {' | '.join(METHODS)} |\n|---|{'---|' * len(METHODS)}")
    for metric in sorted({name for values in found.values() for name in values}):
        shown = [found[method].get(metric, "") for method in METHODS]
        print(f"| {metric} | {' | '.join(x if isinstance(x, str) else f'{x:.3f}' for x in shown)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
