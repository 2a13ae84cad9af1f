"""The scale of a matrix: recognised from its values, refused where ranks would be wrong, undone exactly."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from genemamba_sc.data._cells import CellReader
from genemamba_sc.data._expression import Expression, detect_expression, to_linear

E = float(np.e)
N_CELLS, N_GENES = 400, 150


def simulated_counts() -> np.ndarray:
    """Over-dispersed counts: genes differ in level a thousandfold, cells in depth several-fold."""
    rng = np.random.default_rng(0)
    level = rng.lognormal(-0.5, 1.6, N_GENES)
    depth = rng.lognormal(0.0, 0.5, (N_CELLS, 1))
    return rng.poisson(depth * level * rng.gamma(2.0, 0.5, (N_CELLS, N_GENES))).astype(np.float64)


COUNTS = simulated_counts()


def per_cell(x: np.ndarray, target: float = 1e4) -> np.ndarray:
    return x / np.maximum(x.sum(axis=1, keepdims=True), 1) * target


def partly_removed(x: np.ndarray, share: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    return x * np.where(rng.random(x.shape) < share, rng.random(x.shape), 1.0)


def per_length(x: np.ndarray) -> np.ndarray:
    """Transcripts per million: no value is a multiple of another, every cell sums to a million."""
    return per_cell(x / np.random.default_rng(2).lognormal(0, 1, N_GENES), 1e6)


def detect(x: np.ndarray, **kwargs: Any) -> Expression:
    return detect_expression(CellReader(sparse.csr_matrix(x.astype(np.float32))), **kwargs)


KNOWN = [
    pytest.param(COUNTS, "counts", None, "all values are whole numbers up to", id="counts"),
    pytest.param(np.minimum(COUNTS, 1), "counts", None, "present or absent only", id="binary"),
    pytest.param(np.expm1(np.log1p(COUNTS)), "counts", None, "whole numbers", id="counts with rounding errors"),
    pytest.param(COUNTS[:, :5], "counts", None, "whole numbers", id="counts of 5 genes"),
    pytest.param(per_cell(COUNTS), "normalised", None, "multiples.*not logged", id="CP10k"),
    pytest.param(per_cell(COUNTS)[:, :20], "normalised", None, "multiples.*not logged", id="CP10k cut to 20 genes"),
    pytest.param(per_cell(COUNTS)[:1], "normalised", None, "multiples.*not logged", id="CP10k of one cell"),
    pytest.param(per_cell(COUNTS, 1.0), "normalised", None, "multiples.*not logged", id="proportions"),
    pytest.param(per_length(COUNTS), "normalised", None, r"sum to about 1e\+06", id="TPM"),
    pytest.param(partly_removed(COUNTS, 0.4), "normalised", None, "corrected or estimated", id="ambient RNA removed"),
    pytest.param(partly_removed(COUNTS, 1.0), "normalised", None, "corrected or estimated", id="all values fractional"),
    pytest.param(
        partly_removed(COUNTS, 0.05), "normalised", None, "corrected or estimated", id="estimated, most whole"
    ),
    pytest.param(np.log1p(per_cell(COUNTS)), "log1p", E, r"base e .*about 10,000", id="log1p CP10k"),
    pytest.param(np.log1p(per_cell(COUNTS, 1e6)), "log1p", E, "base e .*about 1,000,000", id="log1p CPM"),
    pytest.param(np.log1p(per_cell(COUNTS, 731)), "log1p", E, "base e .*about 731", id="log1p of an odd target sum"),
    pytest.param(np.log2(1 + per_cell(COUNTS)), "log1p", 2.0, "base 2 ", id="base 2"),
    pytest.param(np.log10(1 + per_cell(COUNTS)), "log1p", 10.0, "base 10 ", id="base 10"),
    pytest.param(np.log1p(COUNTS), "log1p", E, "base e ", id="log1p of raw counts"),
    pytest.param(np.log2(1 + COUNTS), "log1p", 2.0, "base 2 ", id="log2 of raw counts"),
    pytest.param(np.log1p(per_cell(COUNTS))[:, :20], "log1p", E, "base e ", id="log1p CP10k cut to 20 genes"),
    pytest.param(np.log1p(per_cell(COUNTS))[:2], "log1p", E, "base e ", id="log1p CP10k of two cells"),
    pytest.param(np.log1p(per_length(COUNTS)), "log1p", E, "each cell sums to about 1,000,000", id="log1p TPM"),
    pytest.param(np.log2(1 + per_length(COUNTS)), "log1p", 2.0, "base 2$", id="log2 TPM"),
    pytest.param(np.log1p(per_length(COUNTS))[:, 20:], "log1p", E, "natural log1p assumed", id="log1p TPM, genes cut"),
]


@pytest.mark.parametrize(("x", "kind", "base", "reason"), KNOWN)
def test_scales_are_recognised(x: np.ndarray, kind: str, base: float | None, reason: str) -> None:
    found = detect(x)

    assert (found.kind, found.log_base) == (kind, base)
    assert re.search(reason, found.reason), found.reason


def z_scores(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=0)) / x.std(axis=0)


LOGGED = np.log1p(per_cell(COUNTS))
OFTEN = LOGGED[:, (LOGGED > 0).mean(axis=0) > 0.3]

REFUSED = [
    pytest.param(z_scores(OFTEN), "must not be negative; the smallest value of adata.X is -", id="z-scores"),
    pytest.param(np.minimum(z_scores(OFTEN), 10), "must not be negative", id="z-scores clipped at 10"),
    pytest.param(np.maximum(z_scores(OFTEN), 0), "z-scores cut at zero", id="z-scores cut at zero"),
    pytest.param(OFTEN / OFTEN.std(axis=0), "same standard deviation", id="scaled without centring"),
    pytest.param(np.minimum(OFTEN / OFTEN.std(axis=0), 10), "same standard deviation", id="scaled, clipped at 10"),
    pytest.param(COUNTS / COUNTS.std(axis=0).clip(0.1), "same standard deviation", id="counts scaled"),
    pytest.param(OFTEN / OFTEN.max(axis=0), "between 0 and 1 without a common sum", id="scaled by the maximum"),
    pytest.param(np.sqrt(COUNTS), "are square roots", id="square roots"),
    pytest.param(np.log1p(LOGGED), "was logged twice", id="logged twice"),
    pytest.param(np.zeros((3, 2)), "all 3 cells looked at .of 3. are zero", id="all zero"),
    pytest.param(np.where(COUNTS == 1, np.nan, COUNTS), "must be finite; adata.X holds nan", id="NaN"),
    pytest.param(np.where(COUNTS == 1, np.inf, COUNTS), "must be finite; adata.X holds inf", id="infinity"),
]


@pytest.mark.parametrize(("x", "message"), REFUSED)
def test_what_cannot_be_ranked_is_refused_with_the_way_out(x: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=rf"{message}(.|\n)*layer='counts'"):
        detect(x)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)], ids=["no cells", "no genes"])
def test_empty_matrices_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"at least one cell and one gene; got {shape[0]} cells x {shape[1]} genes"):
        detect(np.empty(shape))


def test_messages_name_the_matrix() -> None:
    with pytest.raises(ValueError, match=r"the smallest value of adata\.layers\['scaled'\] is -1"):
        detect(-COUNTS.clip(max=1), where="adata.layers['scaled']")


@pytest.mark.parametrize(
    ("record", "base"),
    [
        pytest.param({"base": None}, E, id="scanpy's default"),
        pytest.param({}, E, id="read back from a file, which drops None"),
        pytest.param({"base": 2}, 2.0, id="base 2"),
    ],
)
def test_uns_settles_what_the_values_leave_open(record: dict[str, Any], base: float) -> None:
    found = detect(np.log1p(per_length(COUNTS))[:, 20:], uns={"log1p": record})

    assert (found.kind, found.log_base) == ("log1p", base)
    assert "uns['log1p'] records a logarithm" in found.reason


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        pytest.param(COUNTS, "counts", id="counts"),
        pytest.param(per_cell(COUNTS), "normalised", id="CP10k"),
        pytest.param(per_length(COUNTS), "normalised", id="TPM"),
        pytest.param(partly_removed(COUNTS, 1.0), "normalised", id="fractional counts"),
    ],
)
def test_values_win_over_uns_of_a_logged_x(layer: np.ndarray, kind: str) -> None:
    assert detect(layer, uns={"log1p": {"base": None}}).kind == kind


def test_values_win_over_a_wrong_base_in_uns() -> None:
    assert detect(LOGGED, uns={"log1p": {"base": 10}}).log_base == E


def test_the_sample_spreads_over_the_file() -> None:
    joined = np.vstack([np.tile(COUNTS, (10, 1)), per_cell(COUNTS)])

    assert detect(COUNTS).kind == "counts"
    assert detect(joined).kind == "normalised"


def test_detection_reads_a_bounded_number_of_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = CellReader(sparse.csr_matrix(np.tile(COUNTS, (20, 1))))
    asked: list[int] = []
    read = CellReader.read
    monkeypatch.setattr(CellReader, "read", lambda self, rows: asked.append(len(rows)) or read(self, rows))

    detect_expression(reader)

    assert asked == [1024]


LINEAR = np.array([[0, 1, 3], [10, 0, 0]], dtype=np.float32)


@pytest.mark.parametrize(
    ("log", "base"),
    [
        pytest.param(np.log1p, E, id="base e"),
        pytest.param(lambda x: np.log2(1 + x), 2.0, id="base 2"),
        pytest.param(lambda x: np.log10(1 + x), 10.0, id="base 10"),
    ],
)
def test_logs_are_undone(log: Callable[[np.ndarray], np.ndarray], base: float) -> None:
    logged = sparse.csr_matrix(log(LINEAR).astype(np.float32))
    before = logged.data.copy()

    linear = to_linear(logged, Expression("log1p", base, ""))

    assert linear.dtype == np.float32
    np.testing.assert_allclose(linear.toarray(), LINEAR, rtol=1e-6)
    np.testing.assert_array_equal(logged.data, before)


@pytest.mark.parametrize("kind", ["counts", "normalised"])
def test_linear_cells_are_handed_on(kind: Any) -> None:
    cells = sparse.csr_matrix(LINEAR)

    assert to_linear(cells, Expression(kind, None, "")) is cells


REAL = {
    "cell_lines": "counts",
    "dendritic_lognorm": "log1p",
    "immune_3studies": "counts",
    "kang_ctrl": "counts",
    "onek1k": "counts",
    "pbmc3k": "counts",
    "pbmc_chemistries": "counts",
    "pbmc_frozen": "counts",
    "pbmc_lanes": "counts",
    "zheng_sorted": "counts",
}


@pytest.mark.parametrize(("name", "kind"), REAL.items(), ids=REAL.keys())
def test_real_files_are_recognised(name: str, kind: str, real_data: Path) -> None:
    adata = ad.read_h5ad(real_data / "cells" / f"{name}.h5ad", backed="r")

    assert detect_expression(CellReader(adata.X), uns=adata.uns).kind == kind


@pytest.mark.parametrize("base", [None, 2, 10], ids=["base e", "base 2", "base 10"])
@pytest.mark.parametrize("name", ["pbmc3k", "kang_ctrl", "onek1k"])
def test_real_cells_logged_by_scanpy_are_recognised_and_undone(name: str, base: int | None, real_data: Path) -> None:
    adata = ad.read_h5ad(real_data / "cells" / f"{name}.h5ad")[::10].copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    linear = adata.X.copy()
    sc.pp.log1p(adata, base=base)

    found = detect_expression(CellReader(adata.X))

    assert (found.kind, found.log_base) == ("log1p", E if base is None else float(base))
    np.testing.assert_allclose(to_linear(adata.X, found).data, linear.data, rtol=1e-5)


@pytest.mark.parametrize("zero_center", [True, False], ids=["centred", "not centred"])
def test_real_cells_scaled_by_scanpy_are_refused(zero_center: bool, real_data: Path) -> None:
    adata = ad.read_h5ad(real_data / "cells" / "onek1k.h5ad")
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.scale(adata, zero_center=zero_center, max_value=10)

    with pytest.raises(ValueError, match="must not be (negative|scaled per gene)"):
        detect_expression(CellReader(adata.X), uns=adata.uns)
