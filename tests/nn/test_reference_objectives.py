"""The published objective: its definition, and the leak in it."""

import pytest
import torch
from torch.nn import functional as F

from genemamba_sc.nn import BiMambaEncoder, EncoderConfig, GeneHead, next_token_loss

IDS = torch.tensor([[5, 3, 2, 4], [7, 6, 1, 1], [2, 1, 1, 1], [1, 1, 1, 1]])
LENGTHS = torch.tensor([4, 2, 1, 0])


def new_parts(d=6, v=10):
    torch.manual_seed(0)
    return GeneHead(d, v), torch.randn(v, d), torch.randn(4, 4, d, requires_grad=True)


def test_each_gene_is_asked_for_the_next_and_no_pad():
    head, table, hidden = new_parts()

    found = next_token_loss(hidden, head, table, IDS, LENGTHS)

    states = torch.stack([hidden[0, 0], hidden[0, 1], hidden[0, 2], hidden[1, 0]])
    scores = F.linear(F.rms_norm(head.from_hidden(states), (6,)), table)
    torch.testing.assert_close(found.loss, F.cross_entropy(scores, torch.tensor([3, 2, 4, 6])))
    assert torch.equal(found.predicted, scores.argmax(dim=1))


def test_some_targets_can_be_drawn():
    head, table, hidden = new_parts()

    drawn = next_token_loss(hidden, head, table, IDS, LENGTHS, torch.tensor([3, 1]))

    alone = [next_token_loss(hidden, head, table, IDS, LENGTHS, torch.tensor([i])).loss for i in (3, 1)]
    torch.testing.assert_close(drawn.loss, sum(alone) / 2)


def test_cells_of_one_gene_have_no_next():
    head, table, hidden = new_parts()

    found = next_token_loss(hidden[2:], head, table, IDS[2:], LENGTHS[2:])
    found.loss.backward()

    assert found.loss.item() == 0.0
    assert hidden.grad.abs().sum().item() == 0.0


@pytest.mark.parametrize("n_layer, sees", [(0, False), (1, True)], ids=["bag of tokens", "one layer"])
def test_the_state_that_is_asked_has_read_the_answer(n_layer, sees):
    torch.manual_seed(0)
    config = EncoderConfig(vocab_size=10, d_model=8, n_layer=n_layer, headdim=8, norm="token", residual_init=1.0)
    encoder = BiMambaEncoder(config).eval()
    other = IDS.clone()
    other[0, 2] = 8  # the answer at position 1

    before, after = (encoder(ids, None, LENGTHS).hidden[0, 1] for ids in (IDS, other))

    assert bool((before != after).any()) is sees
