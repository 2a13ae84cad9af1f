"""The benchmark of the leak, on cells whose next gene cannot be known: whoever names it has read it."""

import leak
import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse


@pytest.fixture(scope="module")
def shuffled_cells():
    """150 cells with the same 12 genes, in a random order of expression."""
    rng = np.random.default_rng(0)
    counts = np.stack([rng.permutation(np.arange(10, 22)) for _ in range(150)]).astype(np.float32)
    adata = AnnData(sparse.csr_matrix(counts))
    adata.var_names = [f"ENSG{i:011d}" for i in range(1, 13)]
    return leak.read_cells(adata, length=12, seed=0)


def test_the_usual_gene_comes_from_the_training_cells(shuffled_cells):
    ids = shuffled_cells.train.ids

    assert (len(shuffled_cells.train.lengths), len(shuffled_cells.test.lengths)) == (120, 30)
    assert shuffled_cells.usual.tolist() == [np.bincount(ids[:, rank]).argmax() for rank in range(12)]
    assert leak.usual_next(shuffled_cells) < 0.25


def test_only_what_reads_the_answer_can_name_it(shuffled_cells, monkeypatch):
    monkeypatch.setattr(leak, "LR", 2e-2)

    rows = {row[:3]: row[3] for row in leak.measure(shuffled_cells, steps=120, seed=0)}

    read = rows["next token", "both directions", "both directions: the answer is read"]
    unread = rows["next token", "left to right only", "left to right only"]
    cut = rows["next token", "both directions", "left to right only"]
    # The next gene is one of those that did not come yet: a perfect reader from the left names (1/11 + ... + 1/1) / 11.
    best = np.mean(1 / np.arange(1, 12))
    assert unread < best + 0.06
    assert cut < best + 0.06
    assert read > 1.5 * best
    assert rows["hidden gene", "copy of what stands there", "both directions"] == 0.0
