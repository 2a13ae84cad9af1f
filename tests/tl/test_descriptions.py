"""What results say of themselves: a few lines, never arrays, and a table in notebooks."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from genemamba_sc import tl
from genemamba_sc.tl.ranks._rank_metrics import ListScores

F = np.float32


def network() -> tl.GeneNetwork:
    ends = np.array([0, 0]), np.array([1, 2])
    numbers = np.array([0.9, 0.8], F), np.array([0.001, 0.01]), np.array([0.002, 0.02])
    return tl.GeneNetwork(("A", "B", "C", "D"), ("1", "2", "3", "4"), *ends, *numbers, "explained", 6)


def perturbation(**changed) -> tl.Perturbation:
    one, types = np.array([[0.2], [np.nan]]), np.array([[[-0.5]], [[np.nan]]])
    fields = {
        "kind": "delete", "shift": 0, "gene_ids": ("1", "2"), "symbols": ("A", "B"), "groups": ("all",),
        "cell_types": ("T",), "n_cells": np.array([[7], [0]]), "cosine_shift": one, "l2_shift": one,
        "type_change": types, "control_cosine_shift": one / 2, "control_type_change": types / 10,
        "control_type_size": -types / 5,
        "n_controls": np.array([[4], [0]]), "p_cosine": one, "p_types": types, "lowers_more": types,
    }  # fmt: skip
    return tl.Perturbation(**{**fields, **changed})


def joint() -> tl.JointPerturbation:
    one = np.array([2.0])
    return tl.JointPerturbation(
        "top", ("ISG",), np.array([8]), ("T",), np.array([9]), one, one / 2, one / 4, -one[:, None], -one[:, None] / 2,
        one / 8, one,
    )  # fmt: skip


def attribution(gap: float) -> tl.Attribution:
    curves = pd.DataFrame({"attribution": [4.0, 0.0], "random": [4.0, 3.0]}, index=[0.0, 0.5])
    scores = sparse.csr_array(np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 1.0]]))
    return tl.Attribution(
        "integrated_gradients", pd.Index(["a", "b"]), ("T", "B"), ("1", "2", "3"), ("A", "B", "C"), scores,
        np.array([1.0, 3.0]), np.zeros(2), np.array([gap, gap / 2]), curves, 2,
    )  # fmt: skip


def reconstruction() -> tl.RankReconstruction:
    lists = (ListScores(3, 0.5, 0.25, 0.5), ListScores(0, 1.0, 1.0, 1.0))
    known = np.array([[0.25, 1.0]])
    return tl.RankReconstruction("published", pd.Index(["a"]), np.array([12]), ("model", "copy"), known, known, lists)


DESCRIBED = {
    "network": (network, ["method     explained", "edges      2 of 6 pairs tested", "genes      3 of 4 have an edge",
                          "strongest  A - B, A - C"]),
    "strongest of a network": (lambda: dataclasses.replace(network(), n_significant=5), [
        "edges      2 of 6 pairs tested; n_neighbors leaves out 3 more within the rate"]),
    "directed": (lambda: dataclasses.replace(network(), method="effect"), ["strongest  A → B, A → C"]),
    "perturbation": (perturbation, [
        "perturbation  delete, one gene at a time", "genes         2: A, B", "groups        1: all",
        "cell types    1: T", "cells         0 to 7 for a gene and group",
        "1 - cosine    median 0.2; of matched genes 0.1",
    ]),
    "shift": (lambda: perturbation(kind="shift", shift=-3), [
        "perturbation  shift by -3 places, one gene at a time",
    ]),
    "joint": (joint, [
        "perturbation       top, the genes of a set together", "sets               1: ISG (8 genes)",
        "cell types         1: T", "distance           2", "matched sets       0.25", "error of the sum   1",
        "error of the mean  0.5",
    ]),
    "attribution": (lambda: attribution(1e-5), [
        "method         integrated_gradients", "cells          2", "targets        2: T, B",
        "genes          2 of 3 are in these cells", "largest gap    1.0e-05",
        "deletion test  passed in 2 cells; mean fall 2 by attribution, 0.5 by random",
    ]),
    "occlusion": (lambda: attribution(np.nan), ["largest gap    scores of occlusion do not add up"]),
    "reconstruction": (reconstruction, [
        "protocol  published", "cells     1, with 12 genes in all", "spearman  model 0.250, copy 1.000",
        "note      Copying the input solves the published protocol: it tells how well a model copies, not what it "
        "knows.",
    ]),
    "programs": (lambda: tl.GenePrograms(("program 1",), (("A", "B", "C", "D"),), np.zeros((2, 1), F), ("a", "b")), [
        "programs  1: A, B, C … (4 genes)", "cells     2",
    ]),
    "nearest": (lambda: tl.NearestGenes("A", ("B",), ("2",), np.array([0.5], F), "static"), [
        "gene     A", "method   static", "nearest  1: B 0.500",
    ]),
    "embeddings": (lambda: tl.GeneEmbeddings(("A", "B"), ("1", "2"), ("all",), np.full((1, 2, 3), [[[1], [np.nan]]], F),
                                             np.array([[4, 0]])),
                   ["genes    2: A, B", "groups   1: all", "vectors  width 3; 1 of 2 are missing"]),
}  # fmt: skip


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_result_is_described_in_a_few_lines(name):
    make, expected = DESCRIBED[name]
    result = make()
    title, *lines = repr(result).splitlines()
    assert title == type(result).__name__
    assert [line.strip() for line in lines if len(expected) > 1 or line.strip() == expected[0]] == expected
    assert result._repr_html_().startswith(f"<table><caption>{title}</caption><tr><th>")


def test_effects_stand_beside_their_baselines():
    found = perturbation().compared(cell_type="T", group="all")
    assert found.index.name == "change of the probability of T"
    # The mean of signed changes, -.05, is not what a size is to be seen beside.
    assert found.loc["A"].to_dict() == {"effect": -0.5, "mean size of matched genes": -0.1}
    assert perturbation().compared().loc["A"].to_dict() == {"effect": 0.2, "mean size of matched genes": 0.1}
    assert joint().compared("T").loc["ISG"].to_dict() == {"effect": -2.0, "sum of single genes": -1.0}
    grouped = perturbation(groups=("NK",), symbols=("A", "A"))
    assert grouped.compared("T").index.name == "change of the probability of T, in NK"
    assert list(grouped.compared().index) == ["1", "2"]  # ids, where genes share a symbol
    for wrong in ({"cell_type": "B"}, {"group": "T"}):
        with pytest.raises(ValueError, match="must be one that there is"):
            perturbation().compared(**wrong)


@pytest.mark.parametrize("name", ["network", "perturbation", "joint", "attribution", "reconstruction"])
def test_results_with_pictures_draw_themselves(name):
    plt = pytest.importorskip("matplotlib.pyplot")
    if name == "network":
        pytest.importorskip("igraph")
    _, own = plt.subplots()
    assert DESCRIBED[name][0]().plot(ax=own) is own
    assert own.has_data()
    plt.close("all")
