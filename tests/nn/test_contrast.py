"""The contrastive losses: equal to loops, blind to what they must not use, sound on nothing."""

import math

import pytest
import torch

from genemamba_sc._pathway_index import PathwayIndex
from genemamba_sc.nn import disjoint_views, pathway_contrast, view_contrast
from genemamba_sc.nn._draws import Draws

# Genes 2..7: pathways {2, 3}, {3, 4}, {5}; 6 and 7 are in none.
SHARE = {(2, 3), (3, 4)}


def new_index():
    rows = torch.tensor([-1, -1, 0, 1, 2, 3, -1, -1])
    share = torch.eye(4, dtype=torch.long)
    for a, b in SHARE:
        share[a - 2, b - 2] = share[b - 2, a - 2] = 1
    return PathwayIndex(rows, (share << torch.arange(4)).sum(1, keepdim=True).to(torch.uint8))


def double_loop(hidden, genes, temperature):
    """The definition, occurrence by occurrence."""
    losses, positives_seen, negatives_seen = [], [], []
    cosine = torch.nn.functional.cosine_similarity
    for i, anchor in enumerate(genes):
        positives, negatives = [], []
        for j, other in enumerate(genes):
            if i == j or anchor == other or max(anchor, other) > 5:
                continue
            shared = (min(anchor, other), max(anchor, other)) in SHARE
            (positives if shared else negatives).append(cosine(hidden[i], hidden[j], dim=0) / temperature)
        if positives and negatives:
            denominator = torch.stack(positives + negatives).exp().sum().log()
            losses.append(-(torch.stack(positives) - denominator).mean())
            positives_seen += positives
            negatives_seen += negatives
    margin = (torch.stack(positives_seen).mean() - torch.stack(negatives_seen).mean()) * temperature
    return torch.stack(losses).mean(), margin


@pytest.mark.parametrize(
    "genes",
    [
        # Two cells of four genes: 3 occurs in both, 6 is in no pathway.
        pytest.param([2, 3, 4, 6, 3, 4, 5, 7], id="one gene in both cells"),
        pytest.param([2, 3, 4, 5, 2, 3, 4, 5], id="all genes in both cells"),
        # 5 shares no pathway with any gene: it is a negative and never an anchor.
        pytest.param([5, 5, 2, 3], id="a gene without positives"),
    ],
)
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_pathway_contrast_is_the_double_loop(genes, temperature):
    hidden = torch.randn(len(genes), 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()

    contrast = pathway_contrast(ours, torch.tensor(genes), new_index(), temperature)
    loss, margin = double_loop(theirs, genes, temperature)
    contrast.loss.backward()
    loss.backward()

    torch.testing.assert_close(contrast.loss, loss)
    torch.testing.assert_close(contrast.margin, margin.detach())
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_pathway_contrast_by_hand():
    # Anchor 2: positive 3 (cosine 1), negative 5 (cosine 0). Anchor 3: positive 2, negative 5. Anchor 5: no positive.
    hidden = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])

    contrast = pathway_contrast(hidden, torch.tensor([2, 3, 5]), new_index(), temperature=0.5)

    assert contrast.loss.item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert contrast.margin.item() == pytest.approx(1.0)


def test_a_copy_of_the_token_scores_as_chance():
    # States that tell the gene and nothing else (one direction each) are orthogonal for different genes; two
    # occurrences of one gene, which a copy makes equal, do not count.
    genes = torch.tensor([2, 3, 4, 5, 2, 3, 4, 5])
    copies = torch.eye(8)[genes]

    contrast = pathway_contrast(copies, genes, new_index())

    # Each anchor (2, 3 or 4) tells six other occurrences apart no better than a die.
    assert contrast.loss.item() == pytest.approx(math.log(6))
    assert contrast.margin.item() == 0.0


def test_occurrences_of_one_gene_in_two_cells_are_anchors_of_their_own():
    hidden = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
    genes = torch.tensor([2, 2, 3, 5])

    both = pathway_contrast(hidden, genes, new_index(), 1.0).loss

    kept = [pathway_contrast(hidden[rows], genes[rows], new_index(), 1.0).loss for rows in ([0, 2, 3], [1, 2, 3])]
    # 3's loss is over both occurrences of 2; those of 2 do not know of each other.
    c = 1 / math.sqrt(2)
    first, second = (-math.log(math.exp(c) / (math.exp(c) + math.exp(other))) for other in (c, -c))
    third = -(2 * c / 2 - math.log(2 * math.exp(c) + 1))
    assert both.item() == pytest.approx((first + second + third) / 3)
    assert not torch.isclose(both, sum(kept) / 2)


@pytest.mark.parametrize(
    "genes",
    [[], [2], [2, 3], [2, 2], [6, 7, 6], [2, 5]],
    ids=["none", "one", "no negative", "one gene twice", "unknown genes", "no positive"],
)
def test_without_an_anchor_the_loss_is_zero_with_a_zero_gradient(genes):
    hidden = torch.randn(len(genes), 4, requires_grad=True)

    contrast = pathway_contrast(hidden, torch.tensor(genes, dtype=torch.long), new_index())
    contrast.loss.backward()

    assert contrast.loss.item() == 0.0
    assert hidden.grad.abs().sum().item() == 0.0
    assert contrast.margin.isnan()


def test_states_of_zero_give_finite_gradients():
    hidden = torch.zeros(3, 4, requires_grad=True)

    loss = pathway_contrast(hidden, torch.tensor([2, 3, 5]), new_index()).loss
    loss.backward()

    assert loss.item() == pytest.approx(math.log(2))
    assert hidden.grad.isfinite().all()


def test_an_index_without_genes_shares_nothing():
    index = PathwayIndex(torch.full((8,), -1), torch.zeros(0, 0, dtype=torch.uint8))

    assert index.share(torch.tensor([2, 3]), torch.tensor([2])).tolist() == [[False], [False]]
    assert index.known(torch.tensor([[2, 3]])).tolist() == [[False, False]]


def test_the_index_answers_for_each_pair():
    tokens = torch.arange(8)

    share = new_index().share(tokens, tokens)

    pairs = {(a, b) for a, b in share.nonzero().tolist() if a < b}
    assert pairs == SHARE
    assert share.diagonal().tolist() == [False, False, True, True, True, True, False, False]
    assert torch.equal(share, share.T)


IDS = torch.arange(2, 62).repeat(200, 1)
LENGTHS = torch.tensor([60, 40] * 100)


def test_views_share_no_gene_and_keep_the_order():
    values = IDS * 0.5
    ids = IDS.masked_fill(torch.arange(60) >= LENGTHS[:, None], 1)

    views = disjoint_views(ids, values, LENGTHS, Draws(IDS.device, torch.Generator().manual_seed(0)))

    cells = [(views.ids[i, :n].tolist(), views.values[i, :n].tolist()) for i, n in enumerate(views.lengths.tolist())]
    for (first, _), (second, _), length in zip(cells[:200], cells[200:], LENGTHS.tolist()):
        assert not set(first) & set(second)
        assert set(first) | set(second) <= set(range(2, 2 + length))
    assert all(ids == sorted(ids) and numbers == [0.5 * i for i in ids] for ids, numbers in cells)
    assert all(views.ids[i, n:].eq(1).all() and views.values[i, n:].eq(0).all() for i, n in enumerate(views.lengths))


def test_the_length_of_one_view_does_not_tell_that_of_the_other():
    views = disjoint_views(IDS, IDS * 1.0, torch.full((200,), 60), Draws(IDS.device, torch.Generator().manual_seed(0)))

    first, second = views.lengths.float().chunk(2)

    assert 5 < first.min() <= first.max() < 45
    assert first.mean().item() / 60 == pytest.approx(0.35, abs=0.03)
    # Two halves would give -1.
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1].item()) < 0.4


def test_views_of_cells_without_genes_are_empty():
    views = disjoint_views(
        torch.ones(2, 1, dtype=torch.long), torch.zeros(2, 1), torch.tensor([0, 0]), Draws(IDS.device)
    )

    assert views.lengths.tolist() == [0, 0, 0, 0]
    assert views.ids.tolist() == [[1]] * 4


def test_view_contrast_by_hand():
    # Cosines: 1 with the own view, 0 with the other's, in both directions.
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    second = torch.tensor([[4.0, 0.0], [0.0, 0.5], [0.0, 0.0]])

    contrast = view_contrast(first, second, torch.tensor([True, True, False]), temperature=0.5)

    assert contrast.loss.item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert contrast.accuracy.item() == 1.0


def test_view_contrast_asks_in_both_directions():
    first, second = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(5, dtype=torch.bool)

    there, back = view_contrast(first, second, valid).loss, view_contrast(second, first, valid).loss

    scores = torch.nn.functional.normalize(first) @ torch.nn.functional.normalize(second).T / 0.1
    expected = [-(scores.log_softmax(dim)).diagonal().mean() for dim in (0, 1)]
    torch.testing.assert_close(there, (expected[0] + expected[1]) / 2)
    torch.testing.assert_close(back, there)


@pytest.mark.parametrize("valid", [[False, False], [True, False]], ids=["no cell", "one cell"])
def test_without_another_cell_the_contrast_is_zero(valid):
    first, second = torch.randn(2, 2, 3).requires_grad_().unbind(0)

    contrast = view_contrast(first, second, torch.tensor(valid))

    assert contrast.loss.item() == 0.0
    assert contrast.loss.requires_grad
    assert contrast.accuracy.isnan()
