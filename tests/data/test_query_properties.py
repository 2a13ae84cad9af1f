"""What tokens may not depend on: neighbours, order, storage; and what they are, by an independent ranking in numpy."""

import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from genemamba_sc import GeneVocabulary
from genemamba_sc.data import Tokens, query_source

N_VARS = 24
GENES = [f"ENSG{i:011d}" for i in range(N_VARS)]
MEDIANS = np.linspace(0.5, 3.0, N_VARS - 2)
# The last two columns are genes that the vocabulary lacks.
VOCABULARY = GeneVocabulary(tuple(GENES[:-2]), ("",) * (N_VARS - 2), MEDIANS, "human")
SCALES = {
    "counts": lambda x, unit: x,
    "normalised": lambda x, unit: x * unit,
    "log1p": lambda x, unit: np.log1p(x * unit),
    "log2": lambda x, unit: np.log2(1 + x * unit),
    "log10": lambda x, unit: np.log10(1 + x * unit),
}
COUNTS = arrays(np.int64, (5, N_VARS), elements=st.integers(0, 9)).map(lambda x: x + np.eye(5, N_VARS, dtype=int))


def cells(x: object, obs: int = 5) -> AnnData:
    return AnnData(x, obs=pd.DataFrame(index=[f"c{i}" for i in range(obs)]), var=pd.DataFrame(index=GENES))


def tokens(adata: AnnData, scale: str | None = None) -> Tokens:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return query_source(adata, VOCABULARY, 64, {}, scale=scale).tokens(np.arange(adata.n_obs))


def ranked(counts: np.ndarray) -> list[list[int]]:
    """Token ids of each cell, by numpy alone: counts over total and median, ties by token."""
    found = []
    for row in counts.astype(np.float64):
        known = row[:-2]
        values = (known / row.sum() * 10_000 / MEDIANS).astype(np.float32)
        order = np.lexsort((np.arange(len(known)), -values.astype(np.float64)))
        found.append([int(gene) + 2 for gene in order if known[gene] > 0])
    return found


def as_lists(found: Tokens) -> list[list[int]]:
    return [ids[:n].tolist() for ids, n in zip(found.ids, found.lengths)]


@pytest.mark.parametrize("scale", SCALES)
@settings(deadline=None, max_examples=40)
@given(counts=COUNTS, unit=st.sampled_from([0.37, 1.9, 20.0]))
def test_a_cell_of_any_stated_scale_has_the_tokens_of_its_counts_alone_and_among_others(
    scale: str, counts: np.ndarray, unit: float
):
    if scale == "counts":
        unit = 1.0
    counts[:, 0] = 1  # a count of one, so that the unit of the cell can be seen
    x = sparse.csr_matrix(SCALES[scale](counts.astype(np.float64), unit).astype(np.float32))
    together = as_lists(tokens(cells(x), scale))
    assert together == ranked(counts)
    for i in range(5):
        assert as_lists(tokens(cells(x[i : i + 1], 1), scale)) == [together[i]]


@settings(deadline=None, max_examples=40)
@given(counts=COUNTS, seed=st.integers(0, 1000))
def test_the_order_of_cells_and_genes_does_not_matter(counts: np.ndarray, seed: int):
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(5), rng.permutation(N_VARS)
    adata = cells(sparse.csr_matrix(counts.astype(np.float32)))
    assert as_lists(tokens(adata[rows][:, columns].copy())) == [ranked(counts)[i] for i in rows]


DTYPES = ["float16", "float32", "float64", ">f4", ">f8", "uint8", "int16", ">i4", "int64", "uint32"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["csr", "csc", "csr_array", "dense"])
def test_storage_does_not_matter(dtype: str, form: str):
    counts = np.random.default_rng(0).poisson(2.0, (5, N_VARS))
    counts[:, 0] += 1
    values = counts.astype(dtype)
    native = sparse.csr_matrix(counts.astype(np.float64))
    data = native.data.astype(dtype)
    if form == "dense":
        x: object = values
    else:
        x = sparse.csr_matrix(native)
        x.data = data
        if form == "csc":
            x = sparse.csc_matrix(native)
            x.data = x.data.astype(dtype)
        if form == "csr_array":
            x = sparse.csr_array(native)
            x.data = x.data.astype(dtype)
    assert as_lists(tokens(cells(x))) == ranked(counts)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_repeated_entries_are_added_without_overflow(dtype: str):
    big = 200 if dtype == "uint8" else 20_000
    indptr, indices = np.array([0, 4]), np.array([0, 0, 1, 2])
    x = sparse.csr_matrix((np.array([big, big, 100, 3], dtype=dtype), indices, indptr), shape=(1, N_VARS))
    expected = np.zeros((1, N_VARS), dtype=np.int64)
    expected[0, :3] = 2 * big, 100, 3
    assert as_lists(tokens(cells(x, 1))) == ranked(expected)


def test_explicit_zeros_are_no_genes():
    x = sparse.csr_matrix(
        (np.array([3.0, 0.0, 2.0], np.float32), np.array([0, 1, 2]), np.array([0, 3])), shape=(1, N_VARS)
    )
    assert sorted(as_lists(tokens(cells(x, 1)))[0]) == [2, 4]


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
def test_a_file_gives_the_tokens_of_memory(dense: bool, dtype: str, tmp_path: Path):
    counts = np.random.default_rng(1).poisson(2.0, (5, N_VARS)) + np.eye(5, N_VARS, dtype=int)
    adata = cells(counts.astype(dtype) if dense else sparse.csr_matrix(counts.astype("float32")))
    if not dense:
        adata.X.data = adata.X.data.astype(dtype)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    assert as_lists(tokens(backed)) == ranked(counts)
