"""Divide the cells of a published set: as it was published, and strictly."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Integer
from sklearn.model_selection import train_test_split

from genemamba_sc.benchmark.published._facts import PublishedSet
from genemamba_sc.benchmark.published._sets import OWN_SPLIT

ROLE = "published_part"
_TEST_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Split:
    """Hold rows to train on, and rows to test on.

    Parameters
    ----------
    name
        What is left out.
    train, test
        Row numbers, shapes (n,) and (m,).
    """

    name: str
    train: Integer[np.ndarray, "n"]
    test: Integer[np.ndarray, "m"]

    def __str__(self) -> str:
        return f"{self.name}: {len(self.train):,} cells to train on, {len(self.test):,} to test on"


@dataclass(frozen=True, eq=False)
class Protocol:
    """Describe how a set is used: its splits, and what is allowed.

    Parameters
    ----------
    name
        ``"published"`` or ``"strict"``.
    says
        What is done, and what it can tell, one sentence each.
    splits
        The splits; none where these files do not have them.
    """

    name: str
    says: tuple[str, ...]
    splits: tuple[Split, ...]

    def __str__(self) -> str:
        splits = [str(split) for split in self.splits] or ["no split: these files do not have it"]
        return "\n".join([f"{self.name} protocol", *(f"  {line}" for line in (*self.says, *splits))])


def published_protocol(facts: PublishedSet, obs: pd.DataFrame, trained_on: str | None) -> Protocol:
    """Return the split of the authors where ``partition`` has it, else the one that the files are.

    Parameters
    ----------
    facts
        What is documented of the set.
    obs
        Table of the cells, with types in ``cell_type``.
    trained_on
        Name of the file that is trained on, without its ending; ``None`` where there is one file.

    Raises
    ------
    ValueError
        If ``partition`` holds something else than train and test.
    """
    if OWN_SPLIT in obs:
        values = obs[OWN_SPLIT].astype(str)
        if set(values) != {"train", "test"}:
            raise ValueError(
                f"obs[{OWN_SPLIT!r}] must hold 'train' and 'test'. Got {sorted(set(values))[:5]}. Give the authors' "
                "processed file, or remove the column."
            )
        says = (
            "The split of the authors of GeneMamba, from obs['partition']: random within each type, about 90 to 10.",
            "They chose the best epoch on its test cells; do not, or say so.",
        )
        return Protocol("published", says, (_of_mask("the authors' partition", (values == "train").to_numpy()),))
    if ROLE in obs:
        says = (
            "The authors' own split is not in these files: it was random within each type, without a seed.",
            "These files are a reference and a query, the split that rows of other methods seem to be from.",
        )
        return Protocol("published", says, (_of_files(obs, trained_on),))
    trained = "The authors trained on the types of a random 90 % of the cells, without a seed, and scored all cells."
    alone = "Their split is in obs['partition'] of their processed file alone, which this is not."
    return Protocol("published", (trained, alone) if "integration" in facts.tasks else (alone,), ())


def strict_protocol(obs: pd.DataFrame, trained_on: str | None, seed: int) -> Protocol:
    """Return splits in which nothing of what is tested was seen: files, batches, or at least cells.

    Parameters
    ----------
    obs
        Table of the cells, with types in ``cell_type`` and batches, if any, in ``batch``.
    trained_on
        As in :func:`published_protocol`.
    seed
        Seed of the split of a set without batches.
    """
    rule = "Choose epochs, settings and thresholds on cells that are left out of the training cells, never on these."
    if ROLE in obs:
        says = ("One file is trained on, the other is tested.", rule)
        return Protocol("strict", says, (_of_files(obs, trained_on),))
    if "batch" in obs and obs["batch"].nunique() > 1:
        splits = tuple(_by_batch(obs))
        says = ("One batch after the other is left out; a cell is tested if another batch has its type.", rule)
        return Protocol("strict", says, splits)
    says = (
        f"There is one batch: a fifth of the cells of each type is left out, with the seed {seed}. This tells less "
        "than a batch that was not seen.",
        rule,
    )
    return Protocol("strict", says, (_by_type(obs, seed),))


def _of_mask(name: str, is_train: np.ndarray) -> Split:
    return Split(name, np.flatnonzero(is_train), np.flatnonzero(~is_train))


def _of_files(obs: pd.DataFrame, trained_on: str | None) -> Split:
    is_train = (obs[ROLE] == trained_on).to_numpy()
    return _of_mask(f"{trained_on} to {obs[ROLE][~is_train].iloc[0]}", is_train)


def _by_batch(obs: pd.DataFrame) -> Iterator[Split]:
    batches, types = obs["batch"].astype(object).to_numpy(), obs["cell_type"].astype(object).to_numpy()
    for name in sorted({batch for batch in batches if pd.notna(batch)}):
        is_test = batches == name
        known = pd.Index(types[~is_test]).dropna().unique()
        test = np.flatnonzero(is_test & np.isin(types.astype(str), known.astype(str)))
        if len(test):
            yield Split(f"batch {name} left out", np.flatnonzero(~is_test), test)


def _by_type(obs: pd.DataFrame, seed: int) -> Split:
    types = obs["cell_type"].astype(object)
    counts = types.value_counts()
    # A type of one cell cannot be on both sides: it is trained on.
    rows = np.flatnonzero(types.isin(counts.index[counts > 1]).to_numpy())
    _, test = train_test_split(rows, test_size=_TEST_SHARE, stratify=types.iloc[rows].astype(str), random_state=seed)
    return _of_mask("a fifth of the cells left out", ~np.isin(np.arange(len(obs)), test))
