"""Decoding the cell embedding: losses by hand, and what they do not count."""

import math

import pytest
import torch

from genemamba_sc.nn._decode import CellDecoder, order_loss, which_loss

PAD = 1


def test_which_loss_by_hand():
    # Cell 0 shows gene 2 and hides 3 and 4; cell 1 hides 5 of its genes 5 and 2; cell 2 hides nothing.
    ids = torch.tensor([[2, 3, 4], [5, 2, PAD], [3, PAD, PAD]])
    real = ids != PAD
    hidden = torch.tensor([[False, True, True], [True, False, False], [False] * 3])
    scores = torch.arange(18.0).reshape(3, 6).sin()

    loss = which_loss(scores, ids, real, hidden)

    def log_share(cell, gene):
        shown = {PAD} | {int(g) for g, r, h in zip(ids[cell], real[cell], hidden[cell]) if r and not h}
        total = sum(math.exp(scores[cell, other]) for other in range(6) if other not in shown)
        return scores[cell, gene].item() - math.log(total)

    expected = -((log_share(0, 3) + log_share(0, 4)) / 2 + log_share(1, 5)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_order_loss_by_hand():
    scores = torch.tensor([[0.3, 9.0, -0.2, 1.0], [0.0, 0.0, 5.0, 5.0], [1.0, 2.0, 3.0, 4.0]])
    hidden = torch.tensor([[True, False, True, True], [True, True, False, False], [False, False, False, True]])

    loss = order_loss(scores, hidden)

    first = math.log(math.exp(0.3) + math.exp(-0.2) + math.exp(1)) - 0.3
    second = math.log(math.exp(-0.2) + math.exp(1)) + 0.2
    # The last gene is no choice; the second cell has one choice between equals; the third none.
    assert loss.item() == pytest.approx(((first + second) / 2 + math.log(2)) / 2, rel=1e-5)


def test_order_loss_falls_when_the_scores_fall_with_the_rank():
    hidden = torch.ones(1, 5, dtype=torch.bool)
    falling = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0]])

    assert order_loss(10 * falling, hidden) < order_loss(falling, hidden) < order_loss(falling.flip(1), hidden)
    assert order_loss(100 * falling, hidden).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("loss", [which_loss, order_loss], ids=["which", "order"])
def test_nothing_hidden_gives_zero_and_a_finite_gradient(loss):
    ids = torch.tensor([[2, 3], [PAD, PAD]])
    hidden = torch.zeros(2, 2, dtype=torch.bool)
    scores = torch.randn(2, 6, requires_grad=True)

    value = loss(scores, ids, ids != PAD, hidden) if loss is which_loss else loss(scores.gather(1, ids), hidden)
    value.backward()

    assert value.item() == 0.0
    assert scores.grad.tolist() == [[0.0] * 6] * 2


def new_decoder(v=12, d=6):
    torch.manual_seed(0)
    return CellDecoder(d, v), torch.randn(v, d), torch.randn(2, d, requires_grad=True)


def test_gradients_are_finite_and_reach_every_parameter():
    decoder, table, cell = new_decoder()
    ids = torch.tensor([[2, 3, 4, 5], [6, 7, PAD, PAD]])
    hidden = torch.tensor([[False, True, True, True], [True, True, False, False]])

    found = decoder(cell, table, ids, torch.tensor([4, 2]), hidden)
    (found.which + found.order).backward()

    assert cell.grad.isfinite().all() and cell.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in decoder.parameters())


@pytest.mark.parametrize("sign, accuracy", [(-1.0, 1.0), (1.0, 0.0)], ids=["right order", "reversed"])
def test_order_accuracy_compares_the_upper_half_with_the_lower(sign, accuracy):
    decoder, table, cell = new_decoder()
    ids = torch.tensor([[2, 3, 4, 5, 6], [7, 8, 9, PAD, PAD]])
    hidden = torch.tensor([[True, False, True, True, True], [True, True, True, False, False]])
    with torch.no_grad():
        decoder.order.weight.zero_()
        decoder.order_bias.copy_(sign * torch.arange(12))

    found = decoder(cell, table, ids, torch.tensor([5, 3]), hidden)

    assert found.accuracy.item() == accuracy


def test_a_visible_gene_is_no_answer_and_no_rival():
    decoder, table, cell = new_decoder()
    ids, lengths = torch.tensor([[2, 3, 4], [2, 4, PAD]]), torch.tensor([3, 2])
    hidden = torch.tensor([[False, True, False], [False, False, False]])

    before = decoder(cell, table, ids, lengths, hidden).which
    with torch.no_grad():
        decoder.bias[[2, 4, PAD]] += 100.0
    after = decoder(cell, table, ids, lengths, hidden).which
    with torch.no_grad():
        decoder.bias[5] += 100.0
    with_a_rival = decoder(cell, table, ids, lengths, hidden).which

    assert torch.equal(after, before)
    assert with_a_rival > before + 50
