"""Published sets from the user's copies: checked against what is documented, divided, and put beside the figures."""

import dataclasses
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from genemamba_sc.benchmark.published import PublishedData, read_published
from genemamba_sc.benchmark.published._facts import Size
from genemamba_sc.benchmark.published._sets import NAMES

Write = Callable[[str], Path]
DIVIDED = {"hPancreas": "demo_train", "MS": "c_data", "Myeloid": "reference_adata"}


def read(name: str, path: Path, **arguments: str) -> PublishedData:
    """Read a set whose sizes differ, which is told; the warning is not what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_published(name, path, **({"trained_on": "c_data"} if name == "MS" else {}), **arguments)


def found(data: PublishedData) -> dict[str, tuple[str, bool | None]]:
    return {finding.what: (finding.found, finding.agrees) for finding in data.findings}


@pytest.mark.parametrize("name", NAMES)
def test_every_set_is_read_in_its_documented_form(name: str, write: Write):
    folder = write(name)
    with pytest.warns(UserWarning, match=rf"The file should be {name} as it is documented\. \d of \d+ facts differ"):
        data = read_published(name, folder, **({"trained_on": "c_data"} if name == "MS" else {}))
    assert data.facts.name == name and data.adata.n_obs == 60
    assert sorted(data.adata.obs["cell_type"].cat.categories) == ["type 0", "type 1", "type 2"]
    # Sizes of a tiny file differ from the documented ones, all the rest agrees.
    assert {finding.what for finding in data.differing} <= {
        "cells", "genes", "types", "batches", "columns that are no genes", "bytes of Immune_ALL_human.h5ad",
        *(f"cells of {part.file}" for part in data.facts.parts),
    }  # fmt: skip
    assert found(data)["cells"] == ("60", False)
    assert data.strict.splits and data.caveats and len(data.scores)
    for protocol in (data.published, data.strict):
        for split in protocol.splits:
            assert not set(split.train) & set(split.test) and len(split.test)
    assert str(data).startswith(f"{name}, published at: ")


@pytest.mark.parametrize("name", DIVIDED)
def test_two_files_are_reference_and_query(name: str, write: Write):
    folder = write(name)
    data = read(name, folder)
    assert data.trained_on == DIVIDED[name]
    for protocol in (data.published, data.strict):
        (split,) = protocol.splits
        assert (len(split.train), len(split.test)) == (40, 20)
        assert split.name.startswith(DIVIDED[name] + " to ")
        assert set(data.adata.obs_names[split.train]) == {f"cell0_{i}" for i in range(40)}
    assert "without a seed" in data.published.says[0]
    # One of the files leads to the other.
    again = read(name, folder / data.facts.parts[1].file)
    assert again.adata.shape == data.adata.shape == (60, 40)


def test_the_order_of_ms_has_to_be_said_and_is_recorded(write: Write):
    folder = write("MS")
    with pytest.raises(ValueError, match=r"Got trained_on=None\. Pass 'c_data' or 'filtered_ms_adata'"):
        read_published("MS", folder)
    with pytest.raises(ValueError, match="Got trained_on='query'"):
        read_published("MS", folder, trained_on="query")
    with pytest.warns(UserWarning):
        data = read_published("MS", folder, trained_on="filtered_ms_adata")
    (split,) = data.strict.splits
    assert (data.trained_on, len(split.train), len(split.test)) == ("filtered_ms_adata", 20, 40)
    assert split.name == "filtered_ms_adata to c_data" and "trained on: filtered_ms_adata" in str(data)
    assert data.adata.var["symbol"].tolist() == [f"GENE{i}" for i in range(40)]


def test_an_order_that_is_not_open_is_not_asked_for(write: Write):
    with pytest.raises(ValueError, match=r"two files whose order is open, as in MS\. Got 'demo_test'"):
        read_published("hPancreas", write("hPancreas"), trained_on="demo_test")


def test_batches_are_left_out_one_after_the_other(write: Write):
    data = read("COVID-19", write("COVID-19"))
    assert data.published.splits == () and "partition" in " ".join(data.published.says)
    assert "no split: these files do not have it" in str(data.published)
    assert [split.name for split in data.strict.splits] == ["batch batch 0 left out", "batch batch 1 left out"]
    batch = data.adata.obs["batch"].to_numpy()
    for number, split in enumerate(data.strict.splits):
        assert set(batch[split.test]) == {f"batch {number}"} and set(batch[split.train]) == {f"batch {1 - number}"}


def test_a_type_that_one_batch_alone_has_is_not_tested(write: Write):
    folder = write("COVID-19")
    adata = ad.read_h5ad(folder / "covid_subsampled.h5ad")
    alone = (adata.obs["batch"] == "batch 0") & (adata.obs["celltype"] == "type 1")
    adata.obs["celltype"] = np.where(alone, "only here", adata.obs["celltype"])
    adata.write_h5ad(folder / "covid_subsampled.h5ad")
    data = read("COVID-19", folder)
    first, second = data.strict.splits
    assert "only here" not in set(data.adata.obs["cell_type"].iloc[first.test])
    assert (len(first.test), len(first.train)) == (20, 30) and len(second.test) == 20


def test_without_batches_a_fifth_of_each_type_is_left_out_and_that_is_said(write: Write):
    folder = write("Zheng68k")
    data = read("Zheng68k", folder)
    (split,) = data.strict.splits
    assert data.adata.obs["cell_type"].iloc[split.test].value_counts().tolist() == [4, 4, 4]
    assert "tells less than a batch" in data.strict.says[0]
    np.testing.assert_array_equal(read("Zheng68k", folder).strict.splits[0].test, split.test)


@pytest.mark.parametrize("name", ["hPancreas", "COVID-19"])
def test_the_partition_of_the_authors_is_used_where_it_is(name: str, write: Write, tmp_path: Path):
    folder = write(name)
    files = sorted(folder.glob("*.h5ad"))
    adata = ad.read_h5ad(files[0])
    adata.obs = adata.obs.rename(columns={"Celltype": "celltype"})
    adata.obs["partition"] = ["test" if i % 10 == 0 else "train" for i in range(adata.n_obs)]
    adata.write_h5ad(tmp_path / "copy_processed.h5ad")
    data = read(name, tmp_path / "copy_processed.h5ad")
    (split,) = data.published.splits
    assert split.name == "the authors' partition"
    assert split.test.tolist() == list(range(0, adata.n_obs, 10)) and len(split.train) == adata.n_obs - len(split.test)
    assert data.trained_on is None
    adata.obs["partition"] = "all"
    adata.write_h5ad(tmp_path / "copy_processed.h5ad")
    with pytest.raises(ValueError, match=r"must hold 'train' and 'test'\. Got \['all'\]"):
        read(name, tmp_path / "copy_processed.h5ad")


def test_counts_come_from_the_documented_layer(write: Write):
    folder = write("Immune")
    data = read("Immune", folder)
    assert data.expression.kind == "counts" and found(data)["layers['counts'] holds"] == ("counts", True)
    adata = ad.read_h5ad(folder / "Immune_ALL_human.h5ad")
    np.testing.assert_array_equal(data.adata.X.toarray(), adata.layers["counts"].toarray())
    del adata.layers["counts"]
    adata.write_h5ad(folder / "Immune_ALL_human.h5ad")
    with pytest.warns(UserWarning, match=r"layers\['counts'\]: missing, so X is read"):
        data = read_published("Immune", folder)
    assert data.expression.kind == "log1p" and found(data)["X holds"][1] is True


def test_antibody_tags_are_left_out_and_counted(write: Write):
    data = read("BMMC", write("BMMC"))
    assert data.adata.n_vars == 30 and list(data.adata.var_names) == [f"GENE{i}" for i in range(30)]
    assert found(data)["columns that are no genes"] == ("10", False)


def test_values_on_another_scale_are_told(write: Write):
    folder = write("hPancreas")
    for file in folder.glob("*.h5ad"):
        adata = ad.read_h5ad(file)
        adata.X = np.rint(np.expm1(adata.X.toarray()))
        adata.write_h5ad(file)
    with pytest.warns(UserWarning, match="X holds: counts; documented log1p: DIFFERS"):
        read_published("hPancreas", folder)


def test_genes_that_one_file_alone_has_are_told(write: Write):
    folder = write("Myeloid")
    adata = ad.read_h5ad(folder / "query_adata.h5ad")
    adata[:, :30].write_h5ad(folder / "query_adata.h5ad")
    with pytest.warns(UserWarning, match="genes of the two files: 40 and 30, 30 shared; documented the same"):
        data = read_published("Myeloid", folder)
    assert data.adata.n_vars == 30


def test_missing_types_stay_missing_and_another_column_of_that_name_is_kept(write: Write):
    folder = write("PBMC12k")
    adata = ad.read_h5ad(folder / "pbmc12k.h5ad")
    adata.obs["cell_type"] = "something else"
    labels = adata.obs["str_labels"].astype(object)
    labels.iloc[:5] = "nan"
    adata.obs["str_labels"] = labels
    adata.write_h5ad(folder / "pbmc12k.h5ad")
    data = read("PBMC12k", folder)
    assert data.adata.obs["cell_type"].isna().sum() == 5 and data.adata.obs["cell_type"].nunique() == 3
    assert found(data)["cells without a type"] == ("5", None)
    assert set(data.adata.obs["cell_type_of_file"]) == {"something else"}


def test_facts_that_are_not_verified_are_marked(write: Write):
    said = str(read("BMMC", write("BMMC")))
    assert "genes: 30; documented 13,953 (inferred, not verified): DIFFERS" in said
    assert "cells: 60; documented 90,261 (told, not verified): DIFFERS" in said
    assert "X holds: counts; nothing is documented" in said
    assert "bytes of Immune_ALL_human.h5ad: " in str(read("Immune", write("Immune")))
    assert "How this set was made from Myeloid is not documented" in str(read("Myeloid_b", write("Myeloid_b")))


def test_a_file_that_fits_is_not_warned_about(write: Write, monkeypatch: pytest.MonkeyPatch):
    from genemamba_sc.benchmark.published import _data

    folder, known = write("COVID-19"), _data.published_set
    sizes = {"n_cells": Size(60, "told"), "n_genes": Size(40, "told"), "n_types": Size(3, "told")}
    monkeypatch.setattr(_data, "published_set", lambda name: dataclasses.replace(known(name), **sizes))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        data = read_published("COVID-19", folder)
    assert data.differing == ()


def test_another_file_altogether_is_doubted(write: Write):
    folder = write("Zheng68k")
    adata = ad.read_h5ad(folder / "Zheng68K.h5ad")
    adata.write_h5ad(folder / "mine.h5ad")
    with pytest.warns(UserWarning, match="Nothing agrees: this is most probably another set"):
        read_published("Zheng68k", folder / "mine.h5ad")


def test_what_cannot_be_the_set_is_refused(write: Write, tmp_path: Path):
    folder = write("COVID-19")
    with pytest.raises(ValueError, match=r"hPancreas is demo_train\.h5ad and demo_test\.h5ad, or a processed copy"):
        read_published("hPancreas", folder / "covid_subsampled.h5ad")
    with pytest.raises(FileNotFoundError, match=r"Got a folder without demo_train\.h5ad and demo_test\.h5ad"):
        read_published("hPancreas", folder)
    with pytest.raises(FileNotFoundError, match="where nothing is"):
        read_published("MS", tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"Got 'PBMC3k'\. Take one of hPancreas, MS"):
        read_published("PBMC3k", folder)
    with pytest.raises(ValueError, match=re.escape("its types in obs['str_labels'], or obs['celltype'] in the pro")):
        adata = ad.read_h5ad(folder / "covid_subsampled.h5ad")
        adata.obs = adata.obs.rename(columns={"celltype": "kind"})
        adata.write_h5ad(folder / "other.h5ad")
        read_published("PBMC12k", folder / "other.h5ad")
    adata.obs["celltype"] = "one"
    adata.write_h5ad(folder / "covid_subsampled.h5ad")
    with pytest.raises(ValueError, match=r"several types of cells\. Got 1"):
        read_published("COVID-19", folder)
    (folder / "again").mkdir()
    adata.write_h5ad(folder / "again" / "covid_subsampled.h5ad")
    with pytest.raises(ValueError, match=r"there once\. Got 2 of covid_subsampled"):
        read_published("COVID-19", folder)


def test_own_results_stand_beside_the_published_ones(write: Write):
    data = read("hPancreas", write("hPancreas"))
    (split,) = data.strict.splits
    truth = data.adata.obs["cell_type"].iloc[split.test].astype(str).to_numpy()
    wrong = truth.copy()
    wrong[truth == "type 2"] = "type 0"
    table = data.beside(split, wrong, "a guess")
    own = table[table["method"] == "a guess"].set_index("metric")
    # 7, 7 and 6 cells: type 0 has precision 7/13 and recall 1, type 1 is right, type 2 is never named.
    assert own.loc["accuracy", "value"] == pytest.approx(14 / 20)
    assert own.loc["macro_f1", "value"] == pytest.approx((2 * 7 / 20 + 1 + 0) / 3)
    assert own["source"].unique().tolist() == ["this run, demo_train to demo_test"]
    assert own["evidence"].unique().tolist() == ["measured"]
    assert table.loc[(table["method"] == "GeneMamba") & (table["metric"] == "accuracy"), "value"].tolist() == [0.9713]
    with pytest.raises(ValueError, match=r"one type per test cell, 20\. Got the shape \(3,\)"):
        data.beside(split, truth[:3])
