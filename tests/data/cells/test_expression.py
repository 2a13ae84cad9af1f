"""The scale of a matrix: recognised from its values, refused where ranks would be wrong, undone exactly."""

import dataclasses
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from genemamba_sc.data.cells._cells import CellReader
from genemamba_sc.data.cells._expression import Expression, detect_expression, to_linear

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
    pytest.param(partly_removed(COUNTS, 1.0), "normalised", None, "no logarithm reaches", id="all values fractional"),
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
    pytest.param(np.log2(1 + per_length(COUNTS))[:1], "log1p", 2.0, "sums to about 1,000,000", id="log2 TPM, one cell"),
    pytest.param(np.log1p(per_length(COUNTS))[:1], "log1p", E, "sums to about 1,000,000", id="log1p TPM, one cell"),
    pytest.param(per_length(COUNTS)[:1], "normalised", None, "sum to about 1e.06", id="TPM of one cell"),
    pytest.param(partly_removed(COUNTS, 0.9).clip(max=20), "normalised", None, "corrected", id="small corrected panel"),
    pytest.param(np.vstack([COUNTS, per_cell(COUNTS, 1e6)]), "normalised", None, "multiples", id="counts beside CPM"),
]

# What the values do not tell: the most likely scale, with a warning.
ASSUMED = [
    pytest.param(np.log1p(per_length(COUNTS))[:, 20:], "log1p", E, id="log1p TPM, genes cut"),
    pytest.param(np.log2(1 + per_length(COUNTS))[:, ::2], "log1p", 2.0, id="log2 TPM, every second gene"),
    pytest.param(np.log2(1 + per_length(COUNTS))[:1, ::2], "log1p", E, id="log2 TPM, every second gene, one cell"),
    pytest.param(np.log1p(per_length(COUNTS))[:3, ::2], "log1p", E, id="log1p TPM, every second gene, three cells"),
]


@pytest.mark.parametrize(("x", "kind", "base", "reason"), KNOWN)
def test_scales_are_recognised(x: np.ndarray, kind: str, base: float | None, reason: str) -> None:
    found = detect(x)

    assert (found.kind, found.log_base) == (kind, base)
    assert re.search(reason, found.reason), found.reason


@pytest.mark.parametrize(("x", "kind", "base"), ASSUMED)
def test_a_scale_that_the_values_do_not_tell_is_assumed_with_a_warning(x: np.ndarray, kind: str, base: float) -> None:
    with pytest.warns(
        UserWarning, match=r"cannot be told from its values: .* assumed to be .* scale=, one of"
    ) as caught:
        found = detect(x)

    assert (found.kind, found.log_base, found.assumed) == (kind, base, True)
    assert caught[0].filename == __file__


def test_three_cells_of_a_log_file_are_never_taken_for_linear() -> None:
    logged = np.log1p(per_cell(COUNTS))

    assert {detect(logged[i : i + 3]).kind for i in range(200)} == {"log1p"}


@pytest.mark.parametrize(("x", "kind", "base", "reason"), KNOWN)
def test_a_cell_alone_is_read_as_among_others(x: np.ndarray, kind: str, base: float | None, reason: str) -> None:
    cells = x[:40]
    found = detect(x)
    together = to_linear(sparse.csr_matrix(cells.astype(np.float32)), found).toarray()
    for i in np.flatnonzero(cells.any(axis=1)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            alone = detect(cells[i : i + 1])
        if alone.assumed or (alone.kind == "counts" and kind != "log1p"):
            continue  # said with a warning; counts are linear as well
        assert (alone.kind, alone.log_base) == (kind, base)
        row = to_linear(sparse.csr_matrix(cells[i : i + 1].astype(np.float32)), alone).toarray()[0]
        np.testing.assert_array_equal(row, together[i])


MIXED = [
    pytest.param(np.vstack([COUNTS, np.log1p(per_cell(COUNTS))]), "linear.*log1p with base e", id="counts, ln"),
    pytest.param(
        np.vstack([np.log1p(per_cell(COUNTS)), np.log2(1 + per_cell(COUNTS))]), "base e.*base 2", id="ln, log2"
    ),
    pytest.param(
        np.vstack([per_cell(COUNTS), np.log1p(per_cell(COUNTS))[:20]]),
        r"linear: \d+ of.*base e: 20 of",
        id="CP10k, a few ln",
    ),
]


@pytest.mark.parametrize(("x", "parts"), MIXED)
def test_cells_on_different_scales_are_refused_with_rows_of_each(x: np.ndarray, parts: str) -> None:
    with pytest.raises(
        ValueError, match=rf"All cells must be on one scale; .*{parts}.* rows \d+, \d+, \d+.*layer='counts'"
    ):
        detect(x)


def test_a_few_logarithms_that_the_sample_missed_are_refused_when_they_are_read() -> None:
    joined = sparse.csr_matrix(np.vstack([COUNTS, np.log1p(per_cell(COUNTS))[:1]]).astype(np.float32))

    with pytest.raises(
        ValueError, match=r"Got linear in most, and log1p with base e in 1 of this block of 401 .* row 400"
    ):
        to_linear(joined, Expression("counts", None, ""))


ODD_ROWS = [
    pytest.param(per_cell(COUNTS), None, np.log1p(per_cell(COUNTS))[:1], "base e", id="ln among CP10k"),
    pytest.param(per_length(COUNTS), None, np.log2(1 + per_cell(COUNTS))[:1], "base 2", id="log2 among TPM"),
    pytest.param(np.log1p(per_cell(COUNTS)), E, COUNTS[:1].clip(max=20), "linear", id="small counts among ln"),
    pytest.param(np.log1p(per_cell(COUNTS)), E, np.log2(1 + per_cell(COUNTS))[:1], "base 2", id="log2 among ln"),
    pytest.param(np.log2(1 + per_length(COUNTS)), 2.0, np.log1p(per_cell(COUNTS))[:1], "base e", id="ln among log2"),
]


@pytest.mark.parametrize(("most", "base", "odd", "name"), ODD_ROWS)
def test_one_row_on_another_scale_is_refused_when_it_is_read(
    most: np.ndarray, base: float | None, odd: np.ndarray, name: str
) -> None:
    joined = sparse.csr_matrix(np.vstack([most, odd]).astype(np.float32))
    found = Expression("normalised" if base is None else "log1p", base, "")

    with pytest.raises(ValueError, match=rf"and .*{name} in 1 of this block of 401 cells, such as row 400"):
        to_linear(joined, found)
    to_linear(joined[:400], found)
    to_linear(joined, dataclasses.replace(found, stated=True))  # who states the scale is believed


def test_a_stored_zero_hides_no_logarithm() -> None:
    joined = sparse.csr_matrix(np.vstack([COUNTS, np.log1p(per_cell(COUNTS))[:1]]).astype(np.float32))
    absent = np.flatnonzero(joined[400].toarray().ravel() == 0)[:3]
    entries = (np.r_[joined.data, np.zeros(3, np.float32)], np.r_[joined.indices, absent], joined.indptr.copy())
    entries[2][-1] += 3

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="log1p with base e in 1 of this block of 401 cells, such as row 400"):
            to_linear(sparse.csr_matrix(entries, shape=joined.shape), Expression("counts", None, ""))


def test_counts_among_logarithms_are_refused_when_they_are_read() -> None:
    joined = sparse.csr_matrix(np.vstack([np.log1p(per_cell(COUNTS)), COUNTS[:1] * 50]).astype(np.float32))

    with pytest.raises(ValueError, match=r"Got logarithms in most, and \d+, which is none, in row 400"):
        to_linear(joined, Expression("log1p", E, ""))


def test_corrected_counts_among_counts_are_linear_as_well() -> None:
    joined = sparse.csr_matrix(np.vstack([COUNTS, partly_removed(COUNTS, 0.5)[:5]]).astype(np.float32))

    assert to_linear(joined, Expression("counts", None, "")) is joined


STATED = [
    ("counts", COUNTS, "counts", None),
    ("normalised", partly_removed(COUNTS, 1.0).clip(max=20), "normalised", None),
    ("log1p", np.log1p(per_length(COUNTS))[:1, ::2], "log1p", E),
    ("log2", np.log2(1 + per_length(COUNTS))[:1, ::2], "log1p", 2.0),
    ("log10", np.log10(1 + per_length(COUNTS))[:1, ::2], "log1p", 10.0),
]


@pytest.mark.parametrize(("scale", "x", "kind", "base"), STATED)
def test_a_stated_scale_is_taken_without_a_warning(scale: Any, x: np.ndarray, kind: str, base: float | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert detect(x, scale=scale) == Expression(kind, base, f"stated as {scale!r}", stated=True)


@pytest.mark.parametrize(
    ("scale", "x", "message"),
    [
        pytest.param(
            "counts", per_cell(COUNTS), "Counts are whole numbers; .* holds .*scale='normalised'", id="counts"
        ),
        pytest.param(
            "log1p", COUNTS * 9, "A logarithm of expression is at most 22; .*scale='log1p' and holds", id="log"
        ),
        pytest.param("cpm2", COUNTS, "scale must be one of .*'counts', 'normalised', 'log1p'.* Got 'cpm2'", id="name"),
    ],
)
def test_a_stated_scale_that_the_values_contradict_is_refused(scale: Any, x: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detect(x, scale=scale)


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
        pytest.param({"base": np.array([2.0])}, 2.0, id="an array"),
        pytest.param({"base": [10]}, 10.0, id="a list"),
        pytest.param({"base": "2"}, 2.0, id="text"),
        pytest.param({"base": "e"}, E, id="e as text"),
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


@pytest.mark.parametrize("record", [{"base": "natural"}, {"base": np.nan}, {"base": 0}], ids=["text", "NaN", "0"])
def test_a_base_that_is_none_leaves_the_decision_to_the_values(record: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="assumed to be log1p with base e"):
        assert detect(np.log1p(per_length(COUNTS))[:, 20:], uns={"log1p": record}).log_base == E


WHOLE = np.array([[0, 1, 3], [10, 0, 0], [2, 4, 6]], dtype=np.float32)
# As counts of the smallest unit that a cell shows.
UNITS = np.array([[0, 1, 3], [1, 0, 0], [1, 2, 3]])
FRACTIONS = np.array([[0.3, 1.0, 3.7], [10.1, 0, 2.77]], dtype=np.float32)
LOGS = [
    pytest.param(np.log1p, E, id="base e"),
    pytest.param(lambda x: np.log2(1 + x), 2.0, id="base 2"),
    pytest.param(lambda x: np.log10(1 + x), 10.0, id="base 10"),
]


@pytest.mark.parametrize(("log", "base"), LOGS)
def test_logs_are_undone(log: Callable[[np.ndarray], np.ndarray], base: float) -> None:
    logged = sparse.csr_matrix(log(FRACTIONS).astype(np.float32))
    before = logged.data.copy()

    linear = to_linear(logged, Expression("log1p", base, ""))

    np.testing.assert_allclose(linear.toarray(), FRACTIONS, rtol=1e-6)
    np.testing.assert_array_equal(logged.data, before)


@pytest.mark.parametrize(("log", "base"), LOGS)
def test_cells_made_from_counts_come_back_as_counts_exactly(
    log: Callable[[np.ndarray], np.ndarray], base: float
) -> None:
    logged = sparse.csr_matrix(log(WHOLE * np.float32(0.731)).astype(np.float32))

    np.testing.assert_array_equal(to_linear(logged, Expression("log1p", base, "")).toarray(), UNITS)


def test_counts_are_handed_on() -> None:
    cells = sparse.csr_matrix(WHOLE)

    assert to_linear(cells, Expression("counts", None, "")) is cells


def test_linear_values_stay_as_they_are_where_they_are_no_multiples() -> None:
    cells = sparse.csr_matrix(FRACTIONS)

    np.testing.assert_array_equal(to_linear(cells, Expression("normalised", None, "")).toarray(), FRACTIONS)


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

    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if name == "dendritic_lognorm" else "error")  # that one only looks like logs
        assert detect_expression(CellReader(adata.X), uns=adata.uns).kind == kind


@pytest.mark.parametrize("base", [None, 2, 10], ids=["base e", "base 2", "base 10"])
@pytest.mark.parametrize("name", ["pbmc3k", "kang_ctrl", "onek1k"])
def test_real_cells_logged_by_scanpy_are_recognised_and_undone(name: str, base: int | None, real_data: Path) -> None:
    adata = ad.read_h5ad(real_data / "cells" / f"{name}.h5ad")[::10].copy()
    counts = adata.X.copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata, base=base)

    found = detect_expression(CellReader(adata.X))

    assert (found.kind, found.log_base) == ("log1p", E if base is None else float(base))
    unit = counts.tocsr().min(axis=1, explicit=True).toarray().ravel()  # 1 but in the odd cell
    np.testing.assert_array_equal(to_linear(adata.X, found).toarray()[unit == 1], counts.toarray()[unit == 1])
    assert np.mean(unit == 1) > 0.99


@pytest.mark.parametrize("zero_center", [True, False], ids=["centred", "not centred"])
def test_real_cells_scaled_by_scanpy_are_refused(zero_center: bool, real_data: Path) -> None:
    adata = ad.read_h5ad(real_data / "cells" / "onek1k.h5ad")
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.scale(adata, zero_center=zero_center, max_value=10)

    with pytest.raises(ValueError, match="must not be (negative|scaled per gene)"):
        detect_expression(CellReader(adata.X), uns=adata.uns)
