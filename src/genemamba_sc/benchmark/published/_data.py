"""Read a published set from the user's copy: checked, with its splits, beside the published figures."""

import os
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from sklearn.metrics import accuracy_score, f1_score

from genemamba_sc._warn import warn
from genemamba_sc.benchmark.published._caveats import CAVEATS
from genemamba_sc.benchmark.published._checking import (
    Finding,
    finding_of_scale,
    findings_of_cells,
    findings_of_files,
)
from genemamba_sc.benchmark.published._facts import PublishedSet
from genemamba_sc.benchmark.published._files import OpenPart, open_parts
from genemamba_sc.benchmark.published._scores import published_scores
from genemamba_sc.benchmark.published._sets import published_set
from genemamba_sc.benchmark.published._splits import Protocol, Split, published_protocol, strict_protocol
from genemamba_sc.benchmark.published._standard import Standard, standardised
from genemamba_sc.data import Expression, open_matrix


@dataclass(frozen=True, eq=False)
class PublishedData:
    """Hold a published set as the user has it, ready to be used.

    Parameters
    ----------
    facts
        What is documented of the set.
    adata
        The cells: types in ``obs["cell_type"]``, batches, if there are any, in ``obs["batch"]``, symbols, if they have
        a column, in ``var["symbol"]``; ``X`` holds what ``expression`` says.
    expression
        Scale of ``X``.
    trained_on
        Name of the file that is trained on; ``None`` where there is one file.
    findings
        Every documented fact beside what the file has.
    published, strict
        The two protocols.
    scores
        The published figures; see :func:`published_scores`.
    """

    facts: PublishedSet
    adata: AnnData
    expression: Expression
    trained_on: str | None
    findings: tuple[Finding, ...]
    published: Protocol
    strict: Protocol
    scores: pd.DataFrame

    @property
    def differing(self) -> tuple[Finding, ...]:
        """The facts that differ from what is documented."""
        return tuple(finding for finding in self.findings if finding.agrees is False)

    @property
    def ok(self) -> bool:
        """Whether it can be the set: no fact was looked at, or one at least agrees."""
        looked_at = [finding.agrees for finding in self.findings if finding.agrees is not None]
        return not looked_at or any(looked_at)

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the published figures can mean and what they cannot."""
        return tuple(f"{task}: {line}" for task in self.facts.tasks for line in CAVEATS[task])

    def beside(self, split: Split, predicted: np.ndarray, method: str = "yours") -> pd.DataFrame:
        """Put accuracy and macro-F1 of predictions beside the published figures of annotation.

        Parameters
        ----------
        split
            The split that was used.
        predicted
            Predicted types of its test cells, shape (m,).
        method
            Name of the method.

        Returns
        -------
        The table of :func:`published_scores` with two rows more. macro-F1 is over the types of the test cells. Cells
        without a type are not scored.

        Raises
        ------
        ValueError
            If there is not one prediction per test cell.
        """
        given = np.asarray(predicted).astype(str)
        if given.shape != split.test.shape:
            raise ValueError(
                f"predicted must have one type per test cell, {len(split.test)}. Got the shape {given.shape}. "
                "Predict adata[split.test]."
            )
        types = self.adata.obs["cell_type"].iloc[split.test]
        known = types.notna().to_numpy()
        truth, given = types[known].astype(str).to_numpy(), given[known]
        f1 = f1_score(truth, given, labels=np.unique(truth), average="macro", zero_division=0.0)
        values = {"accuracy": float(accuracy_score(truth, given)), "macro_f1": float(f1)}
        own = {"set": self.facts.name, "task": "annotation", "method": method, "evidence": "measured"}
        rows = [{**own, "metric": m, "value": v, "source": f"this run, {split.name}"} for m, v in values.items()]
        return pd.concat([self.scores[self.scores["task"] == "annotation"], pd.DataFrame(rows)], ignore_index=True)

    def __str__(self) -> str:
        order = [] if self.trained_on is None else [f"trained on: {self.trained_on}"]
        return "\n".join([
            f"{self.facts.name}, published at: {self.facts.where}",
            *(f"  {line}" for line in (*map(str, self.findings), *order, *self.facts.notes)),
            str(self.published),
            str(self.strict),
            "published figures",
            *(f"  {line}" for line in _lines(self.scores)),
            "what they can mean",
            *(f"  {line}" for line in self.caveats),
        ])  # fmt: skip


def read_published(
    name: str, path: str | os.PathLike[str], *, trained_on: str | None = None, seed: int = 0
) -> PublishedData:
    """Read a set of the published tables from your copy, check it, and divide it as published and strictly.

    Parameters
    ----------
    name
        Name of the set: hPancreas, MS, Myeloid, Myeloid_b, PBMC12k, Immune, BMMC, COVID-19, Perirhinal or Zheng68k.
    path
        Its file, the folder that holds its files, or the authors' processed copy (with ``obs["partition"]``).
    trained_on
        For MS, which of its two files is trained on, ``"c_data"`` or ``"filtered_ms_adata"``: sources disagree, so it
        has to be said. It is recorded in the result, and refused for the other sets.
    seed
        Seed of the strict split of a set without batches.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If there is no such set, ``trained_on`` is missing or not asked for, or the file cannot be the set: no column
        of types, fewer than two types, or values that cannot be ranked.

    Warns
    -----
    UserWarning
        If documented numbers differ from those of the file.
    """
    facts = published_set(name)
    parts = open_parts(facts, path)
    trained_on = _trained_on(facts, parts, trained_on)
    standard = standardised(facts, parts)
    expression = open_matrix(standard.adata, None).expression
    findings = (*findings_of_files(parts), *_of_cells(facts, standard, expression))
    _tell(facts, findings)
    obs = standard.adata.obs
    return PublishedData(
        facts=facts,
        adata=standard.adata,
        expression=expression,
        trained_on=trained_on,
        findings=findings,
        published=published_protocol(facts, obs, trained_on),
        strict=strict_protocol(obs, trained_on, seed),
        scores=published_scores(facts.name),
    )


def _trained_on(facts: PublishedSet, parts: list[OpenPart], trained_on: str | None) -> str | None:
    """Return the file that is trained on; the user says it where sources disagree."""
    names = [part.stem for part in facts.parts]
    if len(parts) < 2 or not facts.order_is_open:
        if trained_on is not None:
            raise ValueError(
                f"trained_on is for two files whose order is open, as in MS. Got {trained_on!r} for {facts.name}. "
                "Leave it out."
            )
        return names[0] if len(parts) > 1 else None
    if trained_on not in names:
        raise ValueError(
            f"Sources disagree on which file of {facts.name} is trained on. Got trained_on={trained_on!r}. Pass "
            f"{' or '.join(map(repr, names))}: scGPT trains on {names[0]}."
        )
    return trained_on


def _of_cells(facts: PublishedSet, standard: Standard, expression: Expression) -> list[Finding]:
    adata = standard.adata
    sizes = findings_of_cells(facts, adata.obs, adata.n_vars, standard.n_others, "batch" in adata.obs)
    return [*sizes, finding_of_scale(facts, expression, standard.is_layer), *standard.findings]


def _tell(facts: PublishedSet, findings: tuple[Finding, ...]) -> None:
    """Warn of what differs; a file in which nothing agrees is most probably another one."""
    differing = [finding for finding in findings if finding.agrees is False]
    if not differing:
        return
    rest = sum(finding.agrees is True for finding in findings)
    doubt = "" if rest else " Nothing agrees: this is most probably another set."
    warn(
        f"The file should be {facts.name} as it is documented. {len(differing)} of {len(differing) + rest} facts "
        f"differ: {'; '.join(map(str, differing))}.{doubt} Published figures are not of these cells."
    )


def _lines(scores: pd.DataFrame) -> list[str]:
    """Give one line per task, method and source."""
    lines = []
    for (task, method, source, evidence), rows in scores.groupby(["task", "method", "source", "evidence"], sort=False):
        values = ", ".join(f"{metric} {value:g}" for metric, value in zip(rows["metric"], rows["value"]))
        lines.append(f"{task}, {method}: {values} [{evidence}: {source}]")
    return lines or ["none were found"]
