"""List what is to be measured, and give each measurement a key by which its row is found again."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genemamba_sc.benchmark._columns import BATCH, LABEL, column
from genemamba_sc.benchmark._splits import TEST_SIZE, Split, batch_splits, few_labels_split, stratified_split
from genemamba_sc.benchmark.methods._methods import SCIB, Method, distribution_of, needs_of
from genemamba_sc.benchmark.methods._outcome import Options
from genemamba_sc.benchmark.runs._cells import Cells
from genemamba_sc.benchmark.runs._choices import SplitChoice
from genemamba_sc.benchmark.runs._plain import plain
from genemamba_sc.benchmark.runs._versions import code_digest, installed_versions

INTEGRATION = "all cells"


@dataclass(frozen=True, eq=False)
class Job:
    """Hold one measurement that is to be made.

    Parameters
    ----------
    method
        The method.
    split
        Name of the split as it was asked for; "all cells" for integration.
    seed
        Seed of the split, where it is drawn, and of the method.
    rows
        The two parts; ``None`` for integration.
    test_share
        Share of the cells in a drawn test part; 0 where the parts are the same for every seed.
    """

    method: Method
    split: str
    seed: int
    rows: Split | None
    test_share: float = 0.0

    @property
    def held_out(self) -> str:
        """The batch that is left out; "" where none is."""
        return "" if self.rows is None else self.rows.held_out

    @property
    def title(self) -> str:
        """What is measured, in words."""
        held_out = f" without {self.held_out}" if self.held_out else ""
        return f"{self.method.task}, {self.split}{held_out}, seed {self.seed}: {self.method.name}"


def jobs_of(
    cells: Cells, splits: Sequence[SplitChoice], methods: Sequence[Method], seeds: Sequence[int]
) -> tuple[Job, ...]:
    """List all jobs, in the order of the seeds, so that a stopped run is a smaller whole run.

    Raises
    ------
    ValueError
        If a training part has fewer than two types, or a drawn test part has no room for every type.
    """
    found = []
    annotating = [method for method in methods if method.task == "annotation"]
    integrating = [method for method in methods if method.task == "integration"]
    for seed in seeds:
        for choice in splits if annotating else ():
            share = _drawn_share(choice)
            for rows in _parts(cells, choice, seed):
                _check_types(cells, choice, rows)
                found += [Job(method, choice.text, seed, rows, share) for method in annotating]
        found += [Job(method, INTEGRATION, seed, None) for method in integrating]
    return tuple(found)


def _drawn_share(choice: SplitChoice) -> float:
    return {"random": choice.amount, "few": TEST_SIZE}.get(choice.kind, 0.0)


def _parts(cells: Cells, choice: SplitChoice, seed: int) -> Iterator[Split]:
    labels = column(cells.adata, LABEL)
    if choice.kind in ("random", "few"):
        _check_room(labels, choice)
    if choice.kind == "random":
        yield stratified_split(labels, seed, choice.amount)
    elif choice.kind == "few":
        yield few_labels_split(labels, seed, choice.amount)
    elif choice.kind == "batch":
        yield from batch_splits(column(cells.adata, BATCH), int(choice.amount))
    else:
        mask = cells.queries[choice.text]
        yield Split("query", "", np.flatnonzero(~mask), np.flatnonzero(mask))


def _check_room(labels: np.ndarray, choice: SplitChoice) -> None:
    """Refuse drawn parts in which not every type fits."""
    counts = np.unique(labels, return_counts=True)[1]
    several, share = counts[counts > 1], _drawn_share(choice)
    room = min(np.ceil(share * several.sum()), np.floor((1 - share) * several.sum()))
    if not len(several) or room < len(several):
        raise ValueError(
            f"The split {choice.text!r} needs a cell of each of the {len(several)} types that have two or more in both "
            f"parts. Got room for {int(room)} in the smaller part. Pass more cells, or join rare types."
        )


def _check_types(cells: Cells, choice: SplitChoice, rows: Split) -> None:
    labels = column(cells.adata, LABEL)
    names, known = np.unique(labels[rows.train]), np.unique(labels[rows.test])
    without = f" without {rows.held_out}" if rows.held_out else ""
    if len(names) < 2:
        raise ValueError(
            f"Training cells must have two types or more. Those of the split {choice.text!r}{without} have "
            f"{names.tolist()}. Leave this split out, or name another labels_key."
        )
    if not np.isin(known, names).any():
        raise ValueError(
            f"Training and test cells must share a type. The split {choice.text!r}{without} has {known[:5].tolist()} "
            f"to test and {names[:5].tolist()} to train on. Write the types alike, or leave this split out."
        )


def key_of(job: Job, cells: Cells, options: Options) -> str:
    """Compute the key of a job: of its cells, their parts, method, seed, arguments, versions and code."""
    return hashlib.sha256(json.dumps(facts_of(job, cells, options), sort_keys=True).encode()).hexdigest()


def facts_of(job: Job, cells: Cells, options: Options) -> dict[str, Any]:
    """Return everything that could move the numbers of a job."""
    return {
        "data": cells.digest,
        "task": job.method.task,
        "method": job.method.name,
        "split": job.split,
        "rows": "" if job.rows is None else _digest(job.rows),
        "seed": job.seed,
        "asked": plain({"model": options.model, "train": options.train}) if job.method.is_ours else "",
        "versions": versions_of(job.method, cells.adata.n_vars),
    }


def versions_of(method: Method, n_vars: int) -> dict[str, str]:
    """Return the versions of everything that a method and its scores use, and a digest of this package's code."""
    needs = needs_of(method, n_vars) + (SCIB if method.task == "integration" else ())
    return installed_versions(tuple(distribution_of(name) for name in needs)) | {"code": code_digest()}


def _digest(rows: Split) -> str:
    digest = hashlib.sha256(rows.train.astype("<i8").tobytes())
    digest.update(b"test" + rows.test.astype("<i8").tobytes())
    return digest.hexdigest()
