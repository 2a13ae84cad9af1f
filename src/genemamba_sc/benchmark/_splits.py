"""Choose which cells train and which are tested: the same for every method, on every machine."""

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

TEST_SIZE = 0.2
LARGEST_BATCHES = 4


@dataclass(frozen=True, eq=False)
class Split:
    """Hold the rows of one training part and one test part.

    Parameters
    ----------
    kind
        How the parts were chosen.
    held_out
        The batch that is left out; ``""`` where none is.
    train, test
        Numbers of the cells.
    """

    kind: str
    held_out: str
    train: np.ndarray
    test: np.ndarray


def stratified_split(labels: np.ndarray, seed: int, test_size: float = TEST_SIZE) -> Split:
    """Draw a test part with the same shares of the types, 20 % of the cells if nothing else is asked.

    A type of a single cell cannot be in both parts: its cell trains.

    Parameters
    ----------
    labels
        Types of the cells, shape ``(n_cells,)``.
    seed
        Seed of the draw.
    test_size
        Share of the cells in the test part.
    """
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    several = counts[codes] > 1
    rows = np.flatnonzero(several)
    train, test = train_test_split(rows, test_size=test_size, stratify=labels[several], random_state=seed)
    return Split("stratified", "", np.concatenate([train, np.flatnonzero(~several)]), test)


def few_labels_split(labels: np.ndarray, seed: int, labelled: int | float) -> Split:
    """Draw the test part of :func:`stratified_split`, and train on few cells of the rest.

    Parameters
    ----------
    labels
        Types of the cells, shape ``(n_cells,)``.
    seed
        Seed of both draws.
    labelled
        A share of the cells of each type, below 1 (at least one cell of each is drawn); or a number of cells per type,
        of which all are taken where a type has no more.
    """
    whole = stratified_split(labels, seed)
    rng, kept = np.random.default_rng(seed), []
    for name in np.unique(labels[whole.train]):
        rows = np.sort(whole.train[labels[whole.train] == name])
        wanted = max(1, round(labelled * len(rows))) if labelled < 1 else int(labelled)
        kept.append(rng.permutation(rows)[:wanted])
    return Split("few", "", np.concatenate(kept), whole.test)


def largest_batches(batches: np.ndarray, most: int = LARGEST_BATCHES) -> list[str]:
    """Name the largest batches, largest first; equal sizes in the order of their names.

    Parameters
    ----------
    batches
        Batches of the cells, shape ``(n_cells,)``.
    most
        Number of batches.
    """
    names, sizes = np.unique(batches, return_counts=True)
    return [str(names[i]) for i in np.lexsort((names, -sizes))[:most]]


def batch_splits(batches: np.ndarray, most: int = LARGEST_BATCHES) -> list[Split]:
    """Test each of the largest batches once; all other batches (small ones too) train.

    Parameters
    ----------
    batches, most
        As in :func:`largest_batches`.
    """
    return [
        Split("batch", name, np.flatnonzero(batches != name), np.flatnonzero(batches == name))
        for name in largest_batches(batches, most)
    ]
