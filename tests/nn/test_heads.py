"""The heads: scores of markers and programs plus what the encoder adds, and hidden genes tied to the gene table."""

import math

import pytest
import torch

from genemamba_sc.nn import CellTypeHead, GeneHead

E1, E2, E3 = math.e - 1, math.e**2 - 1, math.e**3 - 1  # log1p of these is 1, 2, 3


def head_with_markers() -> CellTypeHead:
    head = CellTypeHead(d_model=2, n_labels=3, vocab_size=5)
    head.markers.copy_(torch.tensor([[0, 0, 0], [9, 9, 9], [1, 0, 0], [0, 10, 0], [0, 0, 100]]))
    head.marker_bias.copy_(torch.tensor([0.5, 0.0, -0.5]))
    return head


def test_marker_scores_add_up_by_log1p_of_the_values_and_pads_add_nothing():
    ids = torch.tensor([[2, 3, 4], [3, 1, 1], [1, 1, 1]])
    values = torch.tensor([[E1, E2, E3], [E3, 0, 0], [0, 0, 0]])

    scores = head_with_markers().score_genes(ids, values)

    torch.testing.assert_close(scores, torch.tensor([[1.5, 20.0, 299.5], [0.5, 30.0, -0.5], [0.5, 0.0, -0.5]]))


def test_marker_scores_read_counts_and_not_values_over_medians():
    head = head_with_markers()
    head.medians.copy_(torch.tensor([1.0, 1.0, 2.0, 4.0, 0.5]))
    ids = torch.tensor([[2, 3, 4]])

    scores = head.score_genes(ids, torch.tensor([[E1 / 2, E2 / 4, E3 * 2]]))

    torch.testing.assert_close(scores, torch.tensor([[1.5, 20.0, 299.5]]))


def test_programs_add_the_mean_of_their_tokens_weighted_by_log1p_of_the_values():
    head = CellTypeHead(d_model=2, n_labels=2, vocab_size=5)
    head.programs.copy_(torch.tensor([[0, 0], [9, 9], [1, 0], [0, 10], [100, 0]]))
    head.medians.copy_(torch.tensor([1.0, 1.0, 2.0, 4.0, 0.5]))  # shares are of values over medians, as ranks are
    ids = torch.tensor([[2, 3, 4], [3, 1, 1], [1, 1, 1]])
    values = torch.tensor([[E1, E2, E3], [E3, 0, 0], [0, 0, 0]])

    scores = head.score_genes(ids, values)

    # Levels 1, 2, 3 are shares of 1/6, 2/6, 3/6; a cell without tokens has the bias alone.
    torch.testing.assert_close(scores, torch.tensor([[301 / 6, 20 / 6], [0.0, 10.0], [0.0, 0.0]]))


def test_a_new_head_says_what_the_markers_say():
    scores = torch.tensor([[1.0, 2.0, 3.0]])

    logits = CellTypeHead(2, 3, 5)(torch.tensor([[7.0, -4.0]]), scores)

    assert logits.tolist() == [[1.0, 2.0, 3.0]]


def test_the_encoder_adds_a_linear_score():
    head = CellTypeHead(d_model=2, n_labels=2, vocab_size=5)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, 0.0], [2.0, -1.0]]))
        head.linear.bias.copy_(torch.tensor([0.25, 0.0]))

    logits = head(torch.tensor([[3.0, 4.0]]), torch.tensor([[10.0, 20.0]]))

    assert logits.tolist() == [[13.25, 22.0]]


def test_the_markers_are_saved_but_do_not_learn():
    head = head_with_markers()
    other = CellTypeHead(2, 3, 5)
    other.load_state_dict(head.state_dict())

    assert {name for name, _ in head.named_parameters()} == {"linear.weight", "linear.bias"}
    assert {name for name, _ in head.named_buffers()} == {"markers", "programs", "marker_bias", "medians"}
    assert torch.equal(other.markers, head.markers)
    assert torch.equal(other.marker_bias, head.marker_bias)


def gene_head() -> tuple[GeneHead, torch.Tensor]:
    """A head whose query is the sum of both inputs, and a table of 3 tokens."""
    head = GeneHead(d_model=2, vocab_size=3)
    with torch.no_grad():
        head.from_hidden.weight.copy_(torch.eye(2))
        head.from_context.weight.copy_(torch.eye(2))
        head.bias.copy_(torch.tensor([0.0, 0.0, 0.5]))
        head.scale.fill_(2.0)
    return head, torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def test_gene_logits_on_three_tokens():
    head, table = gene_head()

    # (1, 3) + (2, 1) = (3, 4), of root mean square 5 / sqrt(2).
    logits = head(torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 1.0]]), table)

    unit = math.sqrt(2) / 5
    torch.testing.assert_close(logits, torch.tensor([[6 * unit, 8 * unit, 14 * unit + 0.5]]), atol=1e-6, rtol=1e-6)


def test_gene_logits_depend_on_the_direction_of_the_query_alone():
    head, table = gene_head()
    hidden, context = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 1.0]])

    torch.testing.assert_close(head(10 * hidden, 10 * context, table), head(hidden, context, table))


def test_gene_logits_are_tied_to_the_table_row_by_row():
    head, table = gene_head()
    hidden, context = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 1.0]])
    changed = table.clone()
    changed[1] = -changed[1]

    before, after = head(hidden, context, table), head(hidden, context, changed)

    assert (before != after).tolist() == [[False, True, False]]
    assert after[0, 1] == -before[0, 1]


@pytest.mark.parametrize("source", ["hidden state", "context"])
def test_gene_logits_read_both(source):
    head, table = gene_head()
    hidden, context = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 1.0]])
    before = head(hidden, context, table)
    (hidden if source == "hidden state" else context)[0, 0] += 1.0

    assert not torch.equal(head(hidden, context, table), before)


def test_no_hidden_position_gives_no_logits():
    head, table = gene_head()

    assert head(torch.zeros(0, 2), torch.zeros(0, 2), table).shape == (0, 3)
