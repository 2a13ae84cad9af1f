"""Split the cells into training and validation, and load them."""

import copy
import numbers
from collections.abc import Iterator, Mapping, Sequence

import lightning.pytorch as pl
import numpy as np
from scvi import settings
from scvi.dataloaders._data_splitting import validate_data_split
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from genemamba_sc._checks import CellIndices, row_numbers, share, whole_number
from genemamba_sc.training._dataset import LengthBucketSampler, TokenDataset


class TokenDataSplitter(pl.LightningDataModule):
    """Split and load cells, with the conventions of :class:`scvi.dataloaders.DataSplitter`.

    Parameters
    ----------
    dataset
        The tokens of all cells.
    train_size, validation_size, shuffle_set_split
        As in :class:`scvi.dataloaders.DataSplitter`; ``train_size`` defaults to 0.9.
    external_indexing
        Training, validation and test cells, as row numbers or masks. Every cell is in one part; the last two may be
        left out or ``None``.
    batch_size
        Number of cells per training batch.
    """

    def __init__(
        self,
        dataset: TokenDataset,
        train_size: float | None = None,
        validation_size: float | None = None,
        shuffle_set_split: bool = True,
        external_indexing: Sequence[CellIndices | None] | None = None,
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
            else random_split(n_obs, 0.9 if train_size is None else train_size, validation_size, shuffle_set_split)
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


def random_split(
    n_obs: int, train_size: float, validation_size: float | None = None, shuffle: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the cells that train, validate and test, by the seed of scvi-tools; parameters as in the splitter.

    Parameters
    ----------
    n_obs
        Number of cells.
    train_size, validation_size, shuffle
        Choices of the split.
    """
    _check_validation_size(train_size, validation_size)
    n_train, n_val = validate_data_split(n_obs, train_size, validation_size)
    order = np.arange(n_obs)
    if shuffle:
        order = np.random.RandomState(seed=settings.seed).permutation(order)
    return order[n_val : n_val + n_train], order[:n_val], order[n_val + n_train :]


def _check_validation_size(train_size: float, validation_size: float | None) -> None:
    if validation_size is None:
        return
    if isinstance(validation_size, bool) or not isinstance(validation_size, numbers.Real):
        raise TypeError(
            f"validation_size must be a number. Got {validation_size!r}. Pass a share of the cells, such as 0.1."
        )
    if not 0 <= validation_size < 1 or train_size + validation_size > 1:
        raise ValueError(
            f"validation_size must lie in [0, 1), and be at most 1 in sum with train_size. Got {validation_size!r} and "
            f"train_size={train_size!r}. Leave it out to validate on all cells that do not train."
        )


_PARTS = ("Training", "Validation", "Test")


def _external(n_obs: int, indexing: Sequence[CellIndices | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not isinstance(indexing, list | tuple):
        raise TypeError(
            f"external_indexing must be a list of arrays of row numbers. Got {type(indexing).__name__}. Pass "
            "[train, validation, test]; the last two may be left out."
        )
    if len(indexing) > len(_PARTS):
        raise ValueError(
            f"external_indexing must have at most three parts: training, validation, test. Got {len(indexing)}. Join "
            "some of them."
        )
    given = [*indexing, *[None] * (len(_PARTS) - len(indexing))]
    rows = [row_numbers([] if part is None else part, n_obs) for part in given]
    if not len(rows[0]):
        raise ValueError(
            "external_indexing must name the training cells first. Got none. "
            "Pass [train, validation, test], arrays of row numbers of which the last two may be left out."
        )
    times = np.bincount(np.concatenate(rows), minlength=n_obs)
    for name, part in zip(_PARTS, rows):
        if len(np.unique(part)) < len(part):
            raise ValueError(
                f"{name} cells of external_indexing must be named once. Got repeated ones. Leave them out."
            )
    if (times > 1).any():
        raise ValueError(
            f"The parts of external_indexing must not overlap. {(times > 1).sum()} cells are in several, such as cell "
            f"{np.flatnonzero(times > 1)[0]}. Give each cell one part."
        )
    if (times == 0).any():
        raise ValueError(
            f"external_indexing must name every cell. {(times == 0).sum()} of {n_obs} are in no part. Name those that "
            "neither train nor validate as the third part, the test cells."
        )
    return rows[0], rows[1], rows[2]
