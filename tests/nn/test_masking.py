"""Masking: which genes are hidden, and what stands in their place."""

import math

import pytest
import torch

from genemamba_sc.nn import mask_tokens

MASK = 99
IDS = torch.tensor([[2, 3, 4, 5], [6, 7, 1, 1], [1, 1, 1, 1]])
LENGTHS = torch.tensor([4, 2, 0])
ALMOST_ALL = 1 - 1e-9  # drawn numbers of float32 are at most 1 - 2 ** -24


def test_every_gene_can_be_hidden_and_no_pad():
    masked = mask_tokens(IDS, LENGTHS, ALMOST_ALL, MASK)

    assert masked.ids.tolist() == [[99, 99, 99, 99], [99, 99, 1, 1], [1, 1, 1, 1]]
    assert masked.hidden.tolist() == [[True] * 4, [True, True, False, False], [False] * 4]


def test_only_the_first_genes_are_hidden_where_the_layers_read_no_further():
    masked = mask_tokens(IDS, LENGTHS, ALMOST_ALL, MASK, first=3)

    assert masked.ids.tolist() == [[99, 99, 99, 5], [99, 99, 1, 1], [1, 1, 1, 1]]
    assert masked.hidden.tolist() == [[True] * 3 + [False], [True, True, False, False], [False] * 4]


def test_a_rate_of_zero_hides_nothing_and_draws_no_random_number():
    state = torch.random.get_rng_state()

    masked = mask_tokens(IDS, LENGTHS, 0.0, MASK)

    assert torch.equal(masked.ids, IDS)
    assert masked.hidden.tolist() == [[False] * 4] * 3
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("rate", [0.15, 0.5], ids=["a few genes", "half of the genes"])
def test_each_gene_is_hidden_at_the_rate_and_always_by_the_mask_token(rate):
    n_cells, width, length = 200, 60, 50
    ids = torch.arange(2, 2 + width).expand(n_cells, width).clone()
    before = ids.clone()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        masked = mask_tokens(ids, torch.full((n_cells,), length), rate, MASK)

    assert torch.equal(ids, before)
    assert torch.equal(masked.ids == MASK, masked.hidden)
    assert torch.equal(masked.ids[~masked.hidden], ids[~masked.hidden])
    share = masked.hidden[:, :length].float().mean(dim=0)
    assert not masked.hidden[:, length:].any()
    assert (share - rate).abs().max().item() < 5 * math.sqrt(rate * (1 - rate) / n_cells)
    assert abs(share.mean().item() - rate) < 5 * math.sqrt(rate * (1 - rate) / (n_cells * length))


def test_other_genes_are_hidden_each_time():
    ids = torch.full((4, 50), 2)
    lengths = torch.full((4,), 50)

    first, second = (mask_tokens(ids, lengths, 0.5, MASK).hidden for _ in range(2))

    assert not torch.equal(first, second)
