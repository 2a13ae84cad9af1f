"""The softmax over the vocabulary in blocks: the numbers of the plain form, without its memory."""

import pytest
import torch
from torch.nn import functional as F

from genemamba_sc.nn import _linear_cross_entropy as home
from genemamba_sc.nn import linear_cross_entropy


def new_inputs(m=7, v=11, d=4, dtype=torch.float64, learned=(True, True, True)):
    generator = torch.Generator().manual_seed(0)
    shapes = ((m, d), (v, d), (v,))
    inputs = [torch.randn(*shape, generator=generator, dtype=dtype) for shape in shapes]
    for x, needs in zip(inputs, learned):
        x.requires_grad_(needs)
    return *inputs, torch.randint(0, v, (m,), generator=generator)


@pytest.mark.parametrize("block", [1, 22, 33, 10_000], ids=["a row at a time", "two rows", "three rows", "all at once"])
def test_value_and_gradients_are_those_of_the_plain_form(block, monkeypatch):
    monkeypatch.setattr(home, "_BLOCK_NUMBERS", block)
    query, table, bias, targets = new_inputs()
    scores = F.linear(query, table, bias)
    expected = F.cross_entropy(scores, targets)
    wanted = torch.autograd.grad(3 * expected, [query, table, bias])

    found = linear_cross_entropy(query, table, bias, targets)

    torch.testing.assert_close(found.loss, expected)
    assert torch.equal(found.predicted, scores.argmax(dim=1))
    for ours, theirs in zip(torch.autograd.grad(3 * found.loss, [query, table, bias]), wanted):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("learned", [(True, False, False), (False, True, False), (False, False, True)])
def test_only_what_learns_gets_a_gradient(learned):
    query, table, bias, targets = new_inputs(learned=learned)

    linear_cross_entropy(query, table, bias, targets).loss.backward()

    assert tuple(x.grad is not None for x in (query, table, bias)) == learned


def test_without_gradients_none_are_computed(monkeypatch):
    monkeypatch.setattr(home, "_add_gradients", lambda *_: pytest.fail("a gradient was computed"))
    query, table, bias, targets = new_inputs()

    with torch.no_grad():
        loss = linear_cross_entropy(query, table, bias, targets).loss

    torch.testing.assert_close(loss, F.cross_entropy(F.linear(query, table, bias), targets).detach())


def test_scores_are_never_held_together(monkeypatch):
    monkeypatch.setattr(home, "_BLOCK_NUMBERS", 3 * 11)
    seen = []
    add = home._add_gradients
    monkeypatch.setattr(
        home, "_add_gradients", lambda grads, scores, *rest: (seen.append(len(scores)), add(grads, scores, *rest))
    )
    query, table, bias, targets = new_inputs()

    linear_cross_entropy(query, table, bias, targets).loss.backward()

    assert seen == [3, 3, 1]


def test_no_target_gives_zero_with_a_zero_gradient_for_everything():
    query, table, bias, targets = new_inputs(m=0)

    found = linear_cross_entropy(query, table, bias, targets)
    found.loss.backward()

    assert found.loss.item() == 0.0
    assert table.grad.tolist() == torch.zeros(11, 4).tolist()
    assert bias.grad.tolist() == [0.0] * 11
    assert found.predicted.tolist() == []


def test_under_autocast_products_are_in_half_precision_and_the_rest_is_not():
    query, table, bias, targets = new_inputs(m=50, v=40, d=16, dtype=torch.float32)
    expected = F.cross_entropy(F.linear(query.bfloat16(), table.bfloat16()).float() + bias, targets)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = linear_cross_entropy(query, table, bias, targets)
    found.loss.backward()

    assert found.loss.dtype == torch.float32
    torch.testing.assert_close(found.loss, expected)
    exact = torch.autograd.grad(F.cross_entropy(F.linear(query, table, bias), targets), [query, table, bias])
    for x, gradient in zip((query, table, bias), exact):
        assert x.grad.dtype == torch.float32
        torch.testing.assert_close(x.grad, gradient, rtol=0.05, atol=0.01 * gradient.abs().max().item())
