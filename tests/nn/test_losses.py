"""The losses: what counts, what does not, and what they are on numbers small enough to write down."""

import math

import pytest
import torch

from genemamba_sc.nn import classification_loss, gene_loss, sample_positions


def log_softmax(scores: list[float]) -> list[float]:
    total = sum(math.exp(score) for score in scores)
    return [score - math.log(total) for score in scores]


def test_classification_loss_of_two_cells():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])

    loss = classification_loss(logits, torch.tensor([1, 0]), n_labels=2)

    assert loss.item() == pytest.approx((-math.log(3 / 4) - math.log(1 / 2)) / 2)


def test_label_smoothing_mixes_in_the_uniform_distribution():
    logs = log_softmax([1.0, 0.0, -2.0])

    loss = classification_loss(torch.tensor([[1.0, 0.0, -2.0]]), torch.tensor([0]), n_labels=3, label_smoothing=0.3)

    assert loss.item() == pytest.approx(-0.7 * logs[0] - 0.3 * sum(logs) / 3)


@pytest.mark.parametrize("code", [-1, 2, 99], ids=["minus one", "the code after the last", "far beyond"])
def test_unlabelled_cells_do_not_count(code):
    logits = torch.tensor([[0.0, 1.0], [5.0, -5.0], [2.0, 0.5]], requires_grad=True)
    labels = torch.tensor([1, code, 0])

    loss = classification_loss(logits, labels, n_labels=2)
    loss.backward()

    alone = classification_loss(logits.detach()[[0, 2]], labels[[0, 2]], n_labels=2)
    assert loss.item() == alone.item()
    assert logits.grad[1].tolist() == [0.0, 0.0]
    assert (logits.grad[[0, 2]] != 0).all()


def test_no_labelled_cell_gives_zero_with_zero_gradient():
    logits = torch.randn(3, 2, requires_grad=True)

    loss = classification_loss(logits, torch.tensor([2, -1, 2]), n_labels=2)
    loss.backward()

    assert loss.item() == 0.0
    assert logits.grad.tolist() == [[0.0, 0.0]] * 3


def test_gene_loss_is_the_plain_log_softmax_on_four_genes():
    rows = [[0.5, -1.0, 2.0, 0.0], [1.0, 1.0, 1.0, 3.0], [-2.0, 0.0, 0.3, 0.1]]
    targets = [2, 0, 3]

    loss = gene_loss(torch.tensor(rows), torch.tensor(targets))

    assert loss.item() == pytest.approx(-sum(log_softmax(row)[t] for row, t in zip(rows, targets)) / 3)


def test_no_hidden_gene_gives_zero_with_zero_gradient():
    bias = torch.ones(4, requires_grad=True)

    loss = gene_loss(torch.zeros(0, 4) + bias, torch.zeros(0, dtype=torch.long))
    loss.backward()

    assert loss.item() == 0.0
    assert bias.grad.tolist() == [0.0] * 4


def hidden_positions() -> torch.Tensor:
    """Ten of 3 x 6 positions."""
    hidden = torch.zeros(3, 6, dtype=torch.bool)
    hidden[0, [0, 5]] = True
    hidden[1] = True
    hidden[2, [1, 4]] = True
    return hidden


@pytest.mark.parametrize("limit", [10, 11], ids=["exactly as many as the limit", "fewer than the limit"])
def test_all_positions_are_kept_up_to_the_limit(limit):
    hidden = hidden_positions()

    rows, columns = sample_positions(hidden, limit)

    assert rows.tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 2, 2]
    assert columns.tolist() == [0, 5, 0, 1, 2, 3, 4, 5, 1, 4]


def test_beyond_the_limit_so_many_different_hidden_positions_are_kept():
    hidden = hidden_positions()

    rows, columns = sample_positions(hidden, 4)

    assert hidden[rows, columns].tolist() == [True] * 4
    assert len(set(zip(rows.tolist(), columns.tolist()))) == 4


def test_each_hidden_position_is_kept_as_often_as_any_other():
    hidden = hidden_positions()
    kept = torch.zeros(3, 6)
    n = 2000
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(n):
            kept[sample_positions(hidden, 3)] += 1 / n

    assert kept[~hidden].tolist() == [0.0] * 8
    assert kept[hidden].sum().item() == pytest.approx(3.0, abs=1e-3)
    # Five standard errors.
    assert (kept[hidden] - 0.3).abs().max().item() < 5 * math.sqrt(0.3 * 0.7 / n)


def test_no_hidden_position_gives_none():
    rows, columns = sample_positions(torch.zeros(2, 3, dtype=torch.bool), 5)

    assert (rows.tolist(), columns.tolist()) == ([], [])
