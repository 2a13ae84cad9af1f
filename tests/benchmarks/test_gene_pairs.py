"""Pairs of the gene benchmark: negatives keep genes and expression, scores of a random order say nothing."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def room(monkeypatch):
    """Modules of the room, found as its scripts find them."""
    for folder in ("annotation", "genes"):
        monkeypatch.syspath_prepend(str(BENCHMARKS / folder))
    found = {name: importlib.import_module(name) for name in ("pairs", "scores")}
    yield found
    for name in ("pairs", "scores"):
        sys.modules.pop(name, None)


def test_negatives_have_the_genes_of_the_positives_and_second_genes_of_like_expression(room):
    from genemamba_sc import GeneVocabulary

    n = 400
    vocabulary = GeneVocabulary(tuple(f"G{i}" for i in range(n)), ("",) * n, np.ones(n), "unknown")
    genes = room["pairs"].Genes(np.arange(2, n + 2), np.arange(n) / n, vocabulary)
    positives = np.unique(np.random.default_rng(0).integers(0, n, (3000, 2)), axis=0)
    positives = positives[positives[:, 0] != positives[:, 1]]

    task = room["pairs"].matched("test", genes, positives, genes.key(positives), seed=0)

    true, false = task.pairs[task.related], task.pairs[~task.related]
    assert len(true) == len(positives)
    assert len(false) > 0.9 * len(true)
    assert not np.isin(genes.key(false), genes.key(positives)).any()
    assert (false[:, 0] != false[:, 1]).all()
    # Bins of 20 genes: as many second genes of each bin, and each gene about as often.
    for end in (0, 1):
        counts = [np.bincount(part[:, end] // 20, minlength=20) for part in (true, false)]
        assert np.abs(counts[0] - counts[1]).max() < 0.2 * counts[0].max()
    often = [np.bincount(part[:, 1], minlength=n) for part in (true, false)]
    assert np.corrcoef(*often)[0, 1] > 0.9


def test_a_perfect_score_and_one_that_knows_nothing(room):
    task = room["pairs"].Task("test", np.zeros((400, 2), dtype=int), np.arange(400) < 100)

    perfect = room["scores"].scored(task, task.related + np.linspace(0, 0.1, 400))
    nothing = room["scores"].scored(task, np.zeros(400))

    assert (perfect["auroc"], perfect["auprc_ratio"], perfect["early_ratio"]) == (1.0, pytest.approx(4.0), 4.0)
    assert (nothing["auroc"], nothing["auprc_ratio"]) == (0.5, pytest.approx(1.0))
    assert perfect["auroc_se"] == pytest.approx((401 / (12 * 100 * 300)) ** 0.5)
    published = room["scores"].published(task, np.where(task.related, 0.3, np.linspace(0.1, 0.3, 400)))
    assert published["diff_ratio"] > 0.3
    assert published["js"] > 0.2
