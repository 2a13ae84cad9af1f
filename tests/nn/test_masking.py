"""Masking: which genes are hidden, and what stands in their place."""

import math

import pytest
import torch

from genemamba_sc.nn import mask_tokens
from genemamba_sc.nn._draws import Draws

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


def draws(seed=0):
    return Draws(IDS.device, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("span", [2, 5], ids=["pairs", "runs of five"])
def test_spans_hide_runs_and_each_gene_at_the_rate(span):
    n_cells, length, rate = 400, 50, 0.3
    ids = torch.arange(2, 2 + length).expand(n_cells, length)

    hidden = mask_tokens(ids, torch.full((n_cells,), length), rate, MASK, span=span, draws=draws()).hidden

    # The first positions as often as any other, though few spans start before them.
    error = 5 * math.sqrt(rate * (1 - rate) / n_cells)
    assert (hidden.float().mean(dim=0) - rate).abs().max().item() < error
    # A run that starts and ends inside a cell has the length of a span at least.
    inner = torch.nn.functional.pad(hidden[:, 1:-1].int(), (1, 1))
    edges = inner.diff(dim=1)
    for row, cell in zip(edges, hidden):
        starts, ends = (row == 1).nonzero().flatten() + 1, (row == -1).nonzero().flatten() + 1
        inside = ~(cell[0] & (starts == 1)) & ~(cell[-1] & (ends == length - 1))
        assert ((ends - starts)[inside] >= span).all()


def test_kept_and_swapped_genes_make_up_their_shares():
    n_cells, length, first, last = 300, 40, 2, 96
    ids = torch.arange(2, 2 + length).expand(n_cells, length)

    masked = mask_tokens(ids, torch.full((n_cells,), length), 0.5, MASK, keep=0.1, swap=0.2, draws=draws())

    hidden, shown = masked.hidden, masked.ids
    n = int(hidden.sum())
    swapped = hidden & (shown != ids) & (shown != MASK)
    assert torch.equal(shown[~hidden], ids[~hidden])
    for share, expected in ((shown == MASK, 0.7), (swapped, 0.2), (hidden & (shown == ids), 0.1)):
        # A swapped gene is its own stand-in in one of 96 cases.
        assert (share & hidden).sum().item() / n == pytest.approx(expected, abs=5 * math.sqrt(0.25 / n) + 0.2 / 96)
    # Any gene can stand in, and no special token: [CLS] is 98, [MASK] 99.
    assert (shown[swapped].min().item(), shown[swapped].max().item()) == (first, last + 1)


def test_a_generator_gives_the_same_masks_and_leaves_the_global_stream_alone():
    ids, lengths = torch.arange(2, 52).expand(4, 50), torch.full((4,), 50)
    state = torch.random.get_rng_state()

    first, again, other = (mask_tokens(ids, lengths, 0.5, MASK, draws=draws(seed)).hidden for seed in (0, 0, 1))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_subset_is_all_up_to_the_limit_and_different_ones_beyond():
    numbers = torch.arange(10)

    assert torch.equal(numbers[draws().subset(10, 10)], numbers)
    few = numbers[draws().subset(10, 4)]
    assert len(set(few.tolist())) == 4
