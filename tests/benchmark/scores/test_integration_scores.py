"""The scores of integration on examples small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from genemamba_sc.benchmark import score
from genemamba_sc.benchmark.scores import _neighbours as neighbours

# Two batches on a line: a1 a2 b1 | a3 b2 b3, and a type c of the second batch alone, which lies on its b.
X = np.array([[0.0], [1.0], [10.0], [0.5], [9.0], [2.0], [9.1], [9.2]])
LABELS = np.array(["a", "a", "b", "a", "b", "b", "c", "c"])
BATCHES = np.array(["1", "1", "1", "2", "2", "2", "2", "2"])


def test_types_are_told_by_the_nearest_cells_of_other_batches():
    found = neighbours.across_batches(X, LABELS, BATCHES, k=1)
    # 2.0 of b is nearest to 1.0 of a; both cells of c are nearest to the b of batch 1; 10.0 of b to 9.2 of c.
    assert found.tolist() == ["a", "a", "c", "a", "b", "a", "b", "b"]


def test_a_type_of_one_batch_is_scored_among_all_cells():
    assert neighbours.types_by_spread(LABELS, BATCHES) == {"all": ["a", "b"], "some": [], "single": ["c"]}
    # Nearest but oneself: 0 and 1 are nearest to 0.5, that to 0 (the first of equals), 10 to 9.2, 9 to 9.1, 2 to 1.
    nearest = neighbours.among_all_cells(X, LABELS, k=1)
    assert nearest[[0, 1, 2, 3, 4, 5]].tolist() == ["a", "a", "c", "a", "c", "a"]
    assert nearest[7] == "c"


def test_the_scores_across_batches_name_every_type_once():
    found = neighbours.cross_batch(X[:6], LABELS[:6], BATCHES[:6])
    # Three cells in each other batch, so all three vote: a wins for cells of batch 2, b for those of batch 1.
    assert found == {
        "knn_accuracy": pytest.approx(2 / 6),
        "knn_types": {"a": pytest.approx(1 / 3), "b": pytest.approx(1 / 3)},
        "knn_worst_all": pytest.approx(1 / 3),
        "knn_worst_some": None,
        "knn_single": {},
    }


def test_broken_embeddings_are_refused():
    good = np.arange(6.0).reshape(3, 2)
    neighbours.refuse_broken(good)
    with pytest.raises(ValueError, match=r"must be finite\. 1 of 3 cells"):
        neighbours.refuse_broken(np.where(good == 2, np.nan, good))
    with pytest.raises(ValueError, match=r"All 3 cells have the same values: it collapsed"):
        neighbours.refuse_broken(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"33\.3% of the 3 cells repeat another cell exactly, more than 1%"):
        neighbours.refuse_broken(good[[0, 0, 1]])


def test_the_message_names_the_method_and_a_point_up_to_rounding_is_one():
    with pytest.raises(ValueError, match=r"The embedding of Harmony must be finite"):
        neighbours.refuse_broken(np.full((3, 2), np.inf), "Harmony")
    with pytest.raises(ValueError, match=r"The embedding of scVI .* All 3 cells lie on a point, up to rounding"):
        neighbours.refuse_broken(np.array([[1.0], [1.0 + 1e-9], [1.0 - 1e-9]]), "scVI")
    with pytest.raises(ValueError, match=r"a row per cell and a column or more\. Got the shape \(3,\)"):
        neighbours.refuse_broken(np.arange(3.0))


def test_codes_follow_the_sorted_names():
    assert neighbours.codes(np.array(["T", "B", "NK", "B"])).tolist() == [2, 0, 1, 0]


def test_connectivity_is_the_share_of_the_largest_component_of_each_type():
    graph = sparse.csr_matrix(np.array([[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]))
    assert neighbours.graph_connectivity(graph, np.array([0, 0, 1, 1])) == 1.0
    assert neighbours.graph_connectivity(graph, np.array([0, 0, 0, 1])) == pytest.approx((2 / 3 + 1) / 2)


def test_types_may_be_numbers():
    x, labels, batches = X[:6], np.array([0, 0, 1, 0, 1, 1]), np.array([1, 1, 1, 2, 2, 2])
    assert score(x, labels, batches, scib=False) == score(x, labels.astype(str), batches.astype(str), scib=False)
    assert score(x, labels, batches, scib=False)["knn_types"] == {"0": pytest.approx(1 / 3), "1": pytest.approx(1 / 3)}


def test_clusters_are_scored_as_the_mean_of_five_seeds():
    scib_metrics = pytest.importorskip("scib_metrics")
    from scib_metrics.nearest_neighbors import pynndescent

    rng = np.random.default_rng(0)
    labels, batches = np.arange(300) % 3, np.arange(300) // 150
    x = (1.2 * np.eye(3)[labels] + 0.6 * rng.normal(size=(300, 3))).astype(np.float32)
    near = pynndescent(x, n_neighbors=90, random_state=0).subset_neighbors(15)
    by_seed = [scib_metrics.nmi_ari_cluster_labels_leiden(near, labels, seed=seed) for seed in range(42, 47)]

    found = score(x, labels, batches)

    assert found["nmi"] == pytest.approx(np.mean([one["nmi"] for one in by_seed]))
    assert found["ari"] == pytest.approx(np.mean([one["ari"] for one in by_seed]))
    assert len({round(one["ari"], 6) for one in by_seed}) > 1
    assert found["avg_bio"] == pytest.approx((found["nmi"] + found["ari"] + found["asw_label"]) / 3)


@pytest.mark.parametrize("scib", [True, False])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": [None, *LABELS[1:]]}, ValueError, r"labels must be known for all cells\. 1 of 8 are missing"),
        ({"batches": np.array([np.nan] * 2 + [1.0] * 6)}, ValueError, r"batches must be known .* 2 of 8 are missing"),
        ({"batches": BATCHES[:-5]}, ValueError, r"batches must have one entry .* Got the shape \(3,\) for 8 rows"),
        (
            {"labels": LABELS[:-1]},
            ValueError,
            r"a row per cell and a column or more\. Got the shape \(8, 1\) for 7 cells",
        ),
        ({"batches": np.repeat("1", 8)}, ValueError, r"two batches or more\. Got 1\. Pass the batch of each cell"),
        ({"x": sparse.csr_matrix(X)}, TypeError, r"must be a dense array\. Got a sparse one\. Pass x\.toarray\(\)"),
    ],
)
def test_what_would_be_scored_as_something_else_is_refused(
    change: dict, error: type, message: str, scib: bool, unchecked: None
):
    with pytest.raises(error, match=message):
        score(**({"x": X, "labels": LABELS, "batches": BATCHES} | change), scib=scib)


def test_tables_are_scored_as_arrays_are(unchecked: None):
    found = score(pd.DataFrame(X), pd.Series(LABELS), pd.Categorical(BATCHES), scib=False)
    assert found == score(X, LABELS, BATCHES, scib=False)
