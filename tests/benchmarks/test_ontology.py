"""Types of the sets under common ids, and references that leave a set and its sister sets out."""

import anndata as ad
import corpus
import numpy as np
import ontology
import pandas as pd
import pytest
from across_studies import TARGETS
from ontology import BROAD, FINE, STUDY


def test_every_id_is_one_and_every_fine_type_has_one_broad_one():
    rows = ontology.table()
    mapped = rows[rows[BROAD] != ""]

    assert mapped[BROAD].str.fullmatch(r"CL:\d{7}").all()
    assert rows[FINE].str.fullmatch(r"(CL:\d{7})?").all()
    assert mapped[mapped[FINE] != ""].groupby(FINE)[BROAD].nunique().eq(1).all()
    assert rows[rows[BROAD] == ""]["source"].str.contains("left out").all()
    assert (rows[rows[BROAD] == ""][FINE] == "").all()


def test_the_fine_types_are_these():
    names = {
        name for name, of in zip(*ontology.table()[FINE].reset_index()[[FINE, "set"]].to_numpy().T) if of == "pbmc3k"
    }

    assert names == {
        "CL:0000624", "CL:0000625", "CL:0000236", "CL:0000623", "CL:0000860", "CL:0000875", "CL:0000451", "CL:0000556",
    }  # fmt: skip
    assert ontology.parents()["CL:0000624"] == ontology.parents()["CL:0000625"] == "CL:0000084"


def test_no_reference_shares_cells_with_a_target():
    for target in TARGETS:
        assert not {*corpus.SHARED[target]} & {*ontology.SETS}


def test_large_types_are_cut_down_to_one_size():
    types = np.array(["a"] * 6 + ["b"] * 2 + ["c"])

    rows = ontology.balanced(types, most=5, seed=0)

    assert dict(zip(*np.unique(types[rows], return_counts=True))) == {"a": 2, "b": 2, "c": 1}
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert ontology.balanced(types, most=100, seed=0).tolist() == list(range(9))


def tiny(labels: list[str], genes: list[str], **columns: list[str]) -> ad.AnnData:
    counts = np.arange(1, 1 + len(labels) * len(genes), dtype=np.float32).reshape(len(labels), len(genes))
    obs = pd.DataFrame({"cell_type": labels, "batch": "x", **columns}, index=[f"c{i}" for i in range(len(labels))])
    return ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=genes))


@pytest.fixture
def tiny_sets(monkeypatch):
    sets = {
        "pbmc3k": tiny(["B", "NK"], ["g1", "g2", "g3"]),
        "onek1k": tiny(["B memory"], ["g2", "g9"]),
        "pbmc_chemistries": tiny(
            ["CD4 T cells", "NK cells", "NK cells", "B cells"],
            ["g1", "g2", "g3", "g4"],
            author_cluster_label=["Naive T cells", "NA", "Low quality T", "NA"],
        ),
    }
    monkeypatch.setattr(ontology, "SETS", tuple(sets))
    monkeypatch.setattr(ontology, "load_set", lambda name: sets[name].copy())
    return sets


def test_authors_come_before_predicted_labels_and_what_does_not_map_is_left_out(tiny_sets):
    found = ontology.harmonised("pbmc_chemistries")

    assert found.obs_names.tolist() == ["c0", "c1", "c3"]
    assert found.obs[BROAD].tolist() == ["CL:0000084", "CL:0000623", "CL:0000236"]
    assert found.obs[FINE].tolist() == ["", "CL:0000623", "CL:0000236"]
    assert set(found.obs[STUDY]) == {"pbmc_chemistries"}


def test_a_label_without_a_line_is_refused(tiny_sets):
    tiny_sets["pbmc3k"].obs["cell_type"] = ["B", "Martian"]

    with pytest.raises(ValueError, match=r"needs a line in cell_ontology\.tsv\. pbmc3k has \['Martian'\]"):
        ontology.harmonised("pbmc3k")


def test_the_target_is_no_reference_of_its_own(tiny_sets):
    found = ontology.references("pbmc3k", most=2)

    assert {name: part.n_obs for name, part in found.items()} == {"onek1k": 1, "pbmc_chemistries": 2}
    assert all(set(part.obs[STUDY]) == {name} for name, part in found.items())


def test_views_of_a_pool(tiny_sets):
    pool = ontology.pooled(ontology.references("none", most=9), ["g1", "g2", "g3", "g5"])

    assert pool.cells.var_names.tolist() == ["g1", "g2", "g3"]
    assert pool.cells.obs[FINE].tolist() == ["CL:0000236", "CL:0000623", "CL:0000236", "CL:0000623", "CL:0000236"]
    assert pool.cells[pool.cells.obs[STUDY] == "onek1k"].X.tolist() == [[0.0, 1.0, 0.0]]
    assert pool.measured.loc["onek1k"].tolist() == [False, True, False]
    assert pool.view("all") is pool
    assert pool.view("shared").cells.shape == (5, 1)
    wide = pool.view("wide")
    assert (wide.cells.shape, set(wide.cells.obs[STUDY])) == ((4, 3), {"pbmc3k", "pbmc_chemistries"})
    assert wide.measured.to_numpy().all()
