"""Sums of the encoder's output at each gene: as a loop over cells has them, by group, of what the layers read."""

import numpy as np
import pytest
import torch

from genemamba_sc.data import to_batch
from genemamba_sc.model import _blocks
from genemamba_sc.model._gene_outputs import source_of, sum_gene_outputs


def by_hand(model, source, groups, genes):
    """One cell at a time, one token at a time."""
    model.module.eval()
    width = model.module.encoder_config.d_model
    sums, counts = np.zeros((max(groups) + 1, len(genes), width)), np.zeros((max(groups) + 1, len(genes)), dtype=int)
    for cell in range(source.n_obs):
        batch = to_batch(source.tokens(np.array([cell])))
        with torch.inference_mode():
            output = model.module.encoder(batch["token_ids"], batch["token_values"], batch["lengths"])
        for place in range(int(output.mask.sum())):
            token = int(batch["token_ids"][0, place])
            if token in genes:
                sums[groups[cell], genes.index(token)] += output.hidden[0, place].numpy()
                counts[groups[cell], genes.index(token)] += 1
    return sums, counts


@pytest.mark.parametrize("budget", [40, 16_384])
def test_sums_and_numbers_are_those_of_a_loop_over_cells(trained, make_cells, monkeypatch, budget):
    monkeypatch.setattr(_blocks, "_TOKEN_BUDGET", budget)
    _, source = source_of(trained, make_cells(seed=3), None, None, None)
    groups, genes = np.arange(60) % 2, [7, 2, 41]
    rows = np.full(trained.vocabulary.size, -1)
    rows[genes] = np.arange(3)
    trained.module.train()

    found = sum_gene_outputs(trained.module, source, groups, rows)

    assert trained.module.training
    sums, counts = by_hand(trained, source, groups.tolist(), genes)
    np.testing.assert_array_equal(found.n_cells, counts)
    np.testing.assert_allclose(found.sums, sums, atol=1e-4)
    # The layers read 16 genes of each cell, so no gene can be in all cells that express it.
    assert 0 < counts.sum() < 3 * 60
