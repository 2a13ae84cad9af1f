"""Feed a corpus to Lightning: batches in a fixed order, and the place in it, so that a run can continue."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import DataLoader, Dataset, Sampler

from genemamba_sc._checks import whole_number
from genemamba_sc.corpus._corpus import TokenCorpus
from genemamba_sc.corpus._sampler import BatchPlan, Place, fixed_batches
from genemamba_sc.data.tokens._batches import TokenBatch, to_batch


class CorpusDataset(Dataset[TokenBatch]):
    """Make minibatches of tokens from lists of cell numbers.

    Parameters
    ----------
    corpus
        The corpus with the tokens.
    max_len
        Largest number of tokens of each cell.
    """

    def __init__(self, corpus: TokenCorpus, max_len: int) -> None:
        self.corpus = corpus
        self.max_len = max_len

    def __len__(self) -> int:
        return self.corpus.n_cells

    def __getitem__(self, cells: list[int]) -> TokenBatch:
        return to_batch(self.corpus.tokens(np.asarray(cells, dtype=np.int64), self.max_len))


class TrainingLoader:
    """Give one process its part of the stream of batches, of a given length; Lightning saves and restores the place.

    Parameters
    ----------
    dataset
        The tokens.
    plan
        The stream of batches.
    n_batches
        Number of batches of this process from the start of the training to its end.
    rank, world_size
        Number of the process, and of all processes.
    n_workers
        Number of processes that read ahead; with 0 the training process reads by itself.
    """

    def __init__(
        self, dataset: CorpusDataset, plan: BatchPlan, n_batches: int, rank: int, world_size: int, n_workers: int
    ) -> None:
        self._dataset, self._plan, self._n_batches = dataset, plan, n_batches
        self._rank, self._world_size, self._n_workers = rank, world_size, n_workers
        self._done, self._place = 0, Place()

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[TokenBatch]:
        places: deque[Place] = deque()
        left = self._n_batches - self._done
        sampler = _Turns(self._plan, self._place, self._rank, self._world_size, left, places)
        loader = DataLoader(
            self._dataset,
            sampler=sampler,
            batch_size=None,
            num_workers=self._n_workers,
            generator=torch.Generator(),  # a loader draws a seed, which must not come from everybody's stream
            # Forked workers of a process with threads may hang.
            multiprocessing_context="spawn" if self._n_workers else None,
        )
        for batch in loader:
            # Batches that were read ahead do not count as done: the place moves when a batch is handed out.
            self._done, self._place = self._done + 1, places.popleft()
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return where the stream continues after the last batch that was handed out."""
        return {"done": self._done, "epoch": self._place.epoch, "batch": self._place.batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue where :meth:`state_dict` was taken, with the same or another number of processes.

        Parameters
        ----------
        state
            What :meth:`state_dict` returned.
        """
        self._done, self._place = state["done"], Place(state["epoch"], state["batch"])


class _Turns(Sampler[list[int]]):
    """Give the batches of one process as lists, and leave the place after each in ``places``."""

    def __init__(
        self, plan: BatchPlan, place: Place, rank: int, world_size: int, n_batches: int, places: deque[Place]
    ) -> None:
        self._arguments = (place, rank, world_size)
        self._plan, self._n_batches, self._places = plan, n_batches, places

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[list[int]]:
        for _, (cells, after) in zip(range(self._n_batches), self._plan.shared(*self._arguments)):
            self._places.append(after)
            yield cells.tolist()


class CorpusDataModule(pl.LightningDataModule):
    """Provide a corpus as Lightning wants it: token-budget batches, a disjoint part for each process, resumable.

    Parameters
    ----------
    corpus
        The cells.
    token_budget
        Largest number of padded tokens (cells × longest cell) of a batch of one process.
    n_batches
        Number of batches of each process over the whole training.
    max_len
        Largest number of tokens of each cell; ``None`` takes all that the corpus holds.
    n_validation
        Number of cells held out, drawn with the seed.
    seed
        Seed of the held-out cells and of the order of the others.
    n_workers
        Number of processes that read ahead, for each training process.

    Raises
    ------
    ValueError
        If the numbers are out of range, or more cells are held out than there are.
    """

    def __init__(
        self,
        corpus: TokenCorpus,
        *,
        token_budget: int,
        n_batches: int,
        max_len: int | None = None,
        n_validation: int = 0,
        seed: int = 0,
        n_workers: int = 0,
    ) -> None:
        super().__init__()
        self.token_budget = whole_number("token_budget", token_budget, 1)
        self.n_batches = whole_number("n_batches", n_batches, 1)
        self.n_workers = whole_number("n_workers", n_workers, 0)
        whole_number("n_validation", n_validation, 0)
        longest = int(corpus.lengths.max(initial=1))
        self.max_len = longest if max_len is None else min(longest, whole_number("max_len", max_len, 1))
        if n_validation >= corpus.n_cells:
            raise ValueError(
                f"n_validation must leave cells to train on; got {n_validation} of {corpus.n_cells}. Hold out fewer."
            )
        self.corpus = corpus
        self.training_cells, self.validation_cells = _split(corpus.n_cells, n_validation, seed)
        self.plan = BatchPlan(np.minimum(corpus.lengths, self.max_len), self.training_cells, token_budget, seed)

    def train_dataloader(self) -> TrainingLoader:
        """Return the batches of this process, in the order of the plan."""
        dataset = CorpusDataset(self.corpus, self.max_len)
        return TrainingLoader(dataset, self.plan, self.n_batches, *self._share(), self.n_workers)

    def val_dataloader(self) -> DataLoader | list[Any]:
        """Return batches of held-out cells, the same each time; return nothing where no cell is held out."""
        if not len(self.validation_cells):
            return []
        batches = fixed_batches(self.plan.lengths, self.validation_cells, self.token_budget, *self._share())
        return DataLoader(
            CorpusDataset(self.corpus, self.max_len),
            sampler=[cells.tolist() for cells in batches],
            batch_size=None,
            generator=torch.Generator(),
        )

    def _share(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)


def _split(n_cells: int, n_validation: int, seed: int) -> tuple[Int64[np.ndarray, "t"], Int64[np.ndarray, "v"]]:
    if not n_validation:
        return np.arange(n_cells), np.empty(0, dtype=np.int64)
    held_out = np.sort(np.random.default_rng(seed).choice(n_cells, n_validation, replace=False))
    return np.setdiff1d(np.arange(n_cells), held_out, assume_unique=True), held_out
