"""The published figures, as the pages of facts have them."""

import pytest

from genemamba_sc.benchmark.published import published_scores, published_set
from genemamba_sc.benchmark.published._sets import NAMES


def values(name: str, method: str) -> dict[str, float]:
    scores = published_scores(name)
    rows = scores[scores["method"] == method]
    return dict(zip(rows["metric"], rows["value"]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hPancreas", {"accuracy": 0.9713, "macro_f1": 0.771, "l_dist": 12, "bleu": 0.991, "spearman": 0.792}),
        ("MS", {"accuracy": 0.6825, "macro_f1": 0.5342}),
        ("Myeloid", {"accuracy": 0.6607, "macro_f1": 0.365}),
        ("Myeloid_b", {"accuracy": 0.9603, "macro_f1": 0.9235}),
        ("PBMC12k", {"avg_batch": 0.9604, "avg_bio": 0.8344, "l_dist": 6, "bleu": 0.987, "spearman": 0.711}),
        ("Immune", {"avg_batch": 0.9536, "avg_bio": 0.8131, "l_dist": 12, "bleu": 0.998, "spearman": 0.844}),
        ("BMMC", {"avg_batch": 0.9157, "avg_bio": 0.7628}),
        ("Perirhinal", {"avg_batch": 0.9673, "avg_bio": 0.9062}),
        ("COVID-19", {"avg_batch": 0.8742, "avg_bio": 0.5537}),
        ("Zheng68k", {"l_dist": 11, "bleu": 0.996, "spearman": 0.98}),
    ],
)
def test_the_figures_of_genemamba(name: str, expected: dict[str, float]):
    assert values(name, "GeneMamba") == expected


def test_figures_on_which_sources_disagree_are_both_there():
    assert values("Perirhinal", "GeneMamba (other source)") == {"avg_batch": 0.9573, "avg_bio": 0.9062}
    assert values("COVID-19", "GeneMamba (other source)") == {"avg_batch": 0.8742, "avg_bio": 0.7547}


def test_a_plain_regression_stands_beside_them():
    assert values("MS", "logistic regression, L1") == {"accuracy": 0.8121, "macro_f1": 0.642}
    assert values("Zheng68k", "logistic regression, L1") == {"accuracy": 0.8115, "macro_f1": 0.707}


def test_every_figure_has_a_source_and_belongs_to_a_task_of_its_set():
    scores = published_scores()
    assert set(scores["set"]) == set(NAMES) and set(scores["evidence"]) == {"read", "told"}
    assert (scores["source"].str.len() > 0).all()
    assert not scores.duplicated(["set", "task", "method", "metric"]).any()
    for name in NAMES:
        assert set(published_scores(name)["task"]) == set(published_set(name).tasks)
    share = scores[scores["metric"] != "l_dist"]["value"]
    assert share.between(0, 1).all()


def test_names_are_found_whatever_their_case():
    assert published_set("hpancreas").name == "hPancreas"
    assert published_scores("ZHENG68K")["set"].unique().tolist() == ["Zheng68k"]
