"""Split the cells into training and validation, and load them."""

import copy
from collections.abc import Iterator, Mapping

import lightning.pytorch as pl
import numpy as np
from scvi import settings
from scvi.dataloaders._data_splitting import validate_data_split, validate_data_split_with_external_indexing
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from genemamba_sc._checks import row_numbers, share, whole_number
from genemamba_sc.training._dataset import LengthBucketSampler, TokenDataset


class TokenDataSplitter(pl.LightningDataModule):
    """Split and load cells, with the conventions of :class:`scvi.dataloaders.DataSplitter`.

    Parameters
    ----------
    dataset
        The tokens of all cells.
    train_size, validation_size, shuffle_set_split, external_indexing
        As in :class:`scvi.dataloaders.DataSplitter`; ``train_size`` defaults to 0.9.
    batch_size
        Number of cells per training batch.
    """

    def __init__(
        self,
        dataset: TokenDataset,
        train_size: float | None = None,
        validation_size: float | None = None,
        shuffle_set_split: bool = True,
        external_indexing: list[np.ndarray | None] | None = None,
        batch_size: int = 64,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.batch_size = whole_number("batch_size", batch_size, 1)
        if train_size is not None:
            share("train_size", train_size)
        n_obs = len(dataset)
        self.train_idx, self.val_idx, self.test_idx = (
            _external(n_obs, external_indexing)
            if external_indexing is not None
            else _random(n_obs, 0.9 if train_size is None else train_size, validation_size, shuffle_set_split)
        )
        self.n_train, self.n_val = len(self.train_idx), len(self.val_idx)

    def with_columns(self, columns: Mapping[str, np.ndarray]) -> "TokenDataSplitter":
        """Return the same split of the same cells with further columns.

        Parameters
        ----------
        columns
            Arrays whose first axis is the cells, by name.
        """
        other = copy.copy(self)
        other.dataset = self.dataset.with_columns(columns)
        return other

    def train_dataloader(self) -> DataLoader:
        """Load shuffled batches of cells of similar length."""
        seed = settings.seed if settings.seed is not None else int(np.random.default_rng().integers(2**31))
        sampler = LengthBucketSampler(self.dataset.lengths, self.train_idx, self.batch_size, seed)
        return self._loader(sampler)

    def val_dataloader(self) -> DataLoader | list:
        """Load validation cells in a fixed order; return nothing where no cell validates."""
        if self.n_val == 0:
            return []
        order = self.val_idx[np.argsort(self.dataset.lengths[self.val_idx], kind="stable")]
        return self._loader(BatchSampler(_Listed(order), self.batch_size, drop_last=False))

    def _loader(self, sampler: BatchSampler | LengthBucketSampler) -> DataLoader:
        # A whole minibatch is read and tokenised in one call, so the sampler yields lists of cells.
        return DataLoader(self.dataset, sampler=sampler, batch_size=None, num_workers=settings.dl_num_workers)


class _Listed(SequentialSampler):
    """Give the indices in the order in which they were given."""

    def __init__(self, indices: np.ndarray) -> None:
        super().__init__(indices)
        self._indices = indices.tolist()

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)


def _random(
    n_obs: int, train_size: float, validation_size: float | None, shuffle: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n_train, n_val = validate_data_split(n_obs, train_size, validation_size)
    order = np.arange(n_obs)
    if shuffle:
        order = np.random.RandomState(seed=settings.seed).permutation(order)
    return order[n_val : n_val + n_train], order[:n_val], order[n_val + n_train :]


def _external(n_obs: int, indexing: list[np.ndarray | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not indexing or indexing[0] is None or not len(indexing[0]):
        raise ValueError(
            "external_indexing must name the training cells first. Got none. "
            "Pass [train, validation, test], arrays of row numbers of which the last two may be left out."
        )
    # The check of scvi-tools fills the list up, and the list belongs to the caller.
    parts = list(indexing)
    validate_data_split_with_external_indexing(n_obs, parts)
    train, val, test = (row_numbers(part, n_obs) for part in parts)
    return train, val, test
