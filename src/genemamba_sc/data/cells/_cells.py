"""Read rows of a cell matrix, whatever holds it: memory or file, sparse or dense; rows are always returned as CSR."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
import zarr
from anndata.abc import CSCDataset, CSRDataset
from scipy import sparse

from genemamba_sc._json import quoted
from genemamba_sc.data.cells._compressed import check_compressed, check_entries, check_starts

# Number of rows of a dense source that are in memory at once while they are turned into CSR.
_DENSE_ROWS = 256

_CONVERT = "Convert it first, e.g. with scipy.sparse.csr_matrix(X)."
_LOAD = "Load it first: adata = adata.to_memory()."


class CellReader:
    """Read cells (rows) of an expression matrix as canonical CSR blocks.

    Parameters
    ----------
    matrix
        ``(n_obs, n_vars)``: a scipy CSR or CSC matrix or array, a 2-D numpy array, a backed sparse matrix of anndata
        (CSR or CSC, from h5ad or zarr) or an open dense :class:`h5py.Dataset` or
        :class:`zarr.Array`. It is never modified.

    Attributes
    ----------
    n_obs, n_vars
        Number of cells and of columns (genes).
    dtype
        Data type of the values as they are stored.

    Raises
    ------
    TypeError
        If the matrix is of another kind.
    ValueError
        If it does not have two dimensions, or its values are not real numbers.

    Notes
    -----
    No dense ``n_obs x n_vars`` array is ever made. A CSC source cannot give rows without looking at every column, so it
    is converted to CSR once, at construction. A *backed* CSC source is read into memory for that (its non-zeros, about
    8 bytes each), and so is a backed sparse source in half precision or of the other byte order. Store large files as
    CSR, in float32.
    """

    def __init__(self, matrix: object) -> None:
        self._dropped: np.ndarray | None = None
        shape: tuple[int, ...] = tuple(getattr(matrix, "shape", ()))
        if not _is_readable(matrix):
            raise TypeError(
                "Cells are read from a scipy CSR/CSC matrix or array, a 2-D numpy array, or the backed X of an "
                f"AnnData; got {type(matrix).__module__}.{type(matrix).__qualname__}. "
                f"{_LOAD if type(matrix).__module__.startswith('dask') else _CONVERT}"
            )
        if len(shape) != 2:
            raise ValueError(f"A cell matrix has two dimensions (cells, genes); got shape {shape}.")
        self.n_obs, self.n_vars = int(shape[0]), int(shape[1])
        self.dtype = np.dtype(matrix.dtype)  # type: ignore[attr-defined]
        if self.dtype.kind not in "buif":
            raise ValueError(
                f"Expression values must be real numbers; this matrix has dtype {self.dtype}. "
                "Convert it, e.g. adata.X = adata.X.astype('float32')."
            )
        self._source = _row_source(matrix)

    def read(self, indices: Sequence[int] | np.ndarray, *, canonical: bool = True) -> sparse.csr_matrix:
        """Read cells in the order asked.

        Parameters
        ----------
        indices
            Row numbers in ``[0, n_obs)``, in any order, repeated or not. Files are read in ascending order, each row
            once, and the rows are put into the asked order afterwards.
        canonical
            Whether to put the entries of a row in order. Where the columns of the source are not sorted, that takes
            longer than reading them.

        Returns
        -------
        scipy.sparse.csr_matrix
            ``(len(indices), n_vars)`` float32. A canonical result is a copy: columns sorted within a row, repeated
            entries added, no explicit zeros. Otherwise the result is for reading only, and its entries are as they are
            stored.

        Raises
        ------
        TypeError
            If the row numbers are not integers.
        IndexError
            If a row number is outside ``[0, n_obs)``.
        ValueError
            If the matrix, or the file that holds it, is damaged.
        """
        rows = self._checked(indices)
        if rows.size == 0:
            return sparse.csr_matrix(np.empty((0, self.n_vars), dtype=np.float32))
        finish = _canonical if canonical else _as_float32
        if isinstance(self._source, sparse.csr_matrix):
            return self._kept(finish(self._source[rows]))
        unique, inverse = np.unique(rows, return_inverse=True)
        try:
            found = self._ascending(unique)
        # What h5py and zarr say of a damaged part; zarr divides by the length of its chunks.
        except (OSError, RuntimeError, KeyError, ZeroDivisionError) as error:
            raise ValueError(
                f"Cells {unique[0]} to {unique[-1]} cannot be read ({quoted(error)}): the file is damaged. Copy it "
                "again."
            ) from error
        block = self._kept(finish(found))
        return block if np.array_equal(unique, rows) else block[inverse]

    def _kept(self, block: sparse.csr_matrix) -> sparse.csr_matrix:
        """Leave out the entries of the columns that are dropped."""
        if self._dropped is None:
            return block
        stays = ~self._dropped[block.indices]
        before = np.concatenate([[0], np.cumsum(stays)])
        parts = (block.data[stays], block.indices[stays], before[block.indptr].astype(block.indptr.dtype))
        return sparse.csr_matrix(parts, shape=block.shape, copy=False)

    def without(self, columns: Sequence[int] | np.ndarray) -> "CellReader":
        """Return a reader of the same cells in which some columns are zero; nothing is copied.

        Parameters
        ----------
        columns
            Numbers of the columns.
        """
        other = copy.copy(self)
        other._dropped = np.zeros(self.n_vars, dtype=bool) if self._dropped is None else self._dropped.copy()
        other._dropped[columns] = True
        return other

    @property
    def hdf5(self) -> h5py.Group | h5py.Dataset | None:
        """The HDF5 group or dataset that rows are read from; ``None`` where the source is not in an open HDF5 file."""
        stored = self._source.group if isinstance(self._source, CSRDataset) else self._source
        return stored if isinstance(stored, h5py.Group | h5py.Dataset) else None

    def over(self, matrix: object) -> "CellReader":
        """Return a reader of another holder of the same cells, in which the same columns are zero.

        Parameters
        ----------
        matrix
            The matrix, as for a new reader.
        """
        other = CellReader(matrix)
        other._dropped = self._dropped
        return other

    def blocks(self, size: int) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Iterate over all cells in blocks.

        Parameters
        ----------
        size
            Number of cells per block; the last block may be smaller.

        Yields
        ------
        tuple of int and scipy.sparse.csr_matrix
            Number of the first row, and the rows as :meth:`read` gives them.
        """
        if size < 1:
            raise ValueError(f"A block holds at least one cell; got size={size}.")
        for start in range(0, self.n_obs, size):
            yield start, self.read(np.arange(start, min(start + size, self.n_obs)))

    def _checked(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        rows = np.asarray(indices)
        if rows.size == 0:
            return rows.astype(np.int64).reshape(-1)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise TypeError(
                f"indices must be a 1-D list of whole row numbers; got shape {rows.shape}, dtype {rows.dtype}. "
                "Turn a boolean mask into row numbers with np.flatnonzero(mask)."
            )
        outside = rows[(rows < 0) | (rows >= self.n_obs)]
        if outside.size:
            raise IndexError(
                f"indices must lie in [0, {self.n_obs}), the number of cells; got {outside[0]}. "
                "Count from the start (negative numbers do not count from the end here)."
            )
        return rows

    def _ascending(self, rows: np.ndarray) -> sparse.csr_matrix:
        """Read rows of a file or a dense array, given in ascending order without repeats."""
        if isinstance(self._source, CSRDataset):
            return _as_csr(self._source[_selection(rows)])
        pieces = (rows[i : i + _DENSE_ROWS] for i in range(0, rows.size, _DENSE_ROWS))
        return sparse.vstack(
            [sparse.csr_matrix(_usual_values(self._dense_rows(piece))) for piece in pieces], format="csr"
        )

    def _dense_rows(self, rows: np.ndarray) -> np.ndarray:
        chosen = _selection(rows)
        if isinstance(self._source, zarr.Array) and not isinstance(chosen, slice):
            return np.asarray(self._source.get_orthogonal_selection((chosen, slice(None))))
        return np.asarray(self._source[chosen])


def _is_readable(matrix: object) -> bool:
    if sparse.issparse(matrix):
        return getattr(matrix, "format", None) in ("csr", "csc")
    return isinstance(matrix, np.ndarray | h5py.Dataset | zarr.Array | CSRDataset | CSCDataset)


def _row_source(matrix: object) -> sparse.csr_matrix | np.ndarray | h5py.Dataset | zarr.Array | CSRDataset:
    """Return what rows are taken from: sparse matrices in memory become CSR, without a copy if they are CSR."""
    if isinstance(matrix, CSCDataset | CSRDataset) and not _is_usual(matrix.dtype):
        matrix = _read_unusual(matrix)
    if isinstance(matrix, CSRDataset):
        group = matrix.group
        check_starts(group["indptr"][...], matrix.shape[0], min(group["indices"].shape[0], group["data"].shape[0]))
    if isinstance(matrix, CSCDataset):
        matrix = matrix.to_memory()
    if sparse.issparse(matrix):
        # Columns of CSR are checked as they are read.
        check_compressed(matrix, columns=getattr(matrix, "format", None) == "csc")
        return _as_csr(_usual(matrix).tocsr())
    if isinstance(matrix, np.matrix):  # its rows would stay two-dimensional
        return np.asarray(matrix)
    return matrix  # type: ignore[return-value]


def _usual(matrix: Any) -> Any:
    """Store values in a type that scipy computes with: half precision and the other byte order become float32."""
    if _is_usual(matrix.dtype):
        return matrix
    parts = (_usual_values(matrix.data), matrix.indices, matrix.indptr)
    return type(matrix)(parts, shape=matrix.shape, copy=False)


def _is_usual(dtype: np.dtype) -> bool:
    return bool(dtype != np.float16 and dtype.isnative)


def _read_unusual(matrix: CSRDataset | CSCDataset) -> sparse.csr_matrix | sparse.csc_matrix:
    """Read a file whose values scipy cannot hold as a whole, because it cannot be read by rows."""
    parts = (_usual_values(matrix.group["data"][...]), matrix.group["indices"][...], matrix.group["indptr"][...])
    kind = sparse.csr_matrix if isinstance(matrix, CSRDataset) else sparse.csc_matrix
    return kind(parts, shape=matrix.shape)


def _usual_values(values: np.ndarray) -> np.ndarray:
    kind = np.dtype(np.float32) if values.dtype == np.float16 else values.dtype.newbyteorder("=")
    return values.astype(kind, copy=False)


def _as_csr(matrix: sparse.csr_matrix | sparse.csr_array) -> sparse.csr_matrix:
    """Wrap the same three arrays, so that arrays, matrices and anndata's views behave alike."""
    return sparse.csr_matrix(
        (_usual_values(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape, copy=False
    )


def _selection(rows: np.ndarray) -> slice | np.ndarray:
    """Return ascending rows as a slice where they are adjacent: one contiguous read instead of one per row."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == rows.size else rows


def _as_float32(block: sparse.csr_matrix) -> sparse.csr_matrix:
    check_entries(block.indices, block.shape[1])
    data = block.data.astype(np.float32, copy=False)
    return sparse.csr_matrix((data, block.indices, block.indptr), shape=block.shape, copy=False)


def _canonical(block: sparse.csr_matrix) -> sparse.csr_matrix:
    """Make a float32 copy with sorted columns, repeated entries added and zeros removed."""
    check_entries(block.indices, block.shape[1])
    # Whole numbers are added as float64: those of one byte would start again from 0 at 256.
    data = block.data.astype(np.float64 if block.dtype.kind in "biu" else block.dtype)
    # This is always a copy: rows of a matrix in memory may share the user's arrays, and the next steps work in place.
    out = sparse.csr_matrix((data, block.indices.copy(), block.indptr.copy()), shape=block.shape)
    out.sum_duplicates()
    if not out.data.all():
        out.eliminate_zeros()
    return out if out.dtype == np.float32 else out.astype(np.float32)
