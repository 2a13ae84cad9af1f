"""Lists of genes compared: every number by hand."""

import math

import numpy as np
import pytest

from genemamba_sc.tl.ranks._rank_metrics import bleu, compare_lists, correlation, edit_distance, relative_ranks


def plain_edit_distance(a, b) -> int:
    table = [[i + j if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            same = table[i - 1][j - 1] + (a[i - 1] != b[j - 1])
            table[i][j] = min(same, table[i - 1][j] + 1, table[i][j - 1] + 1)
    return table[-1][-1]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 0),
        ([1, 2, 3], [1, 3, 2], 2),  # a gene is taken out and put in again
        ([1, 2, 3], [2, 3], 1),
        ([1, 2], [3, 4, 5], 3),
        ([ord(c) for c in "kitten"], [ord(c) for c in "sitting"], 3),
    ],
)
def test_the_edit_distance_of_known_lists(a, b, expected):
    assert edit_distance(np.array(a), np.array(b)) == expected


def test_the_edit_distance_is_that_of_the_plain_table():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 4, rng.integers(1, 12)), rng.integers(0, 4, rng.integers(1, 12))
        assert edit_distance(a, b) == plain_edit_distance(a, b)


def test_bleu_multiplies_four_precisions_and_a_brevity_penalty():
    truth = np.array([1, 2, 3, 4, 5])
    assert bleu(truth, truth) == pytest.approx(1.0)
    assert bleu(truth, np.array([1, 2, 3, 4, 9])) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert bleu(truth, np.array([1, 2, 3, 4])) == pytest.approx(math.exp(1 - 5 / 4))
    assert bleu(truth, np.array([5, 4, 3, 2, 1])) == 0.0
    # A gene that is named too often counts as often as it is there.
    assert bleu(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 4, 4])) == pytest.approx(
        (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    )


def test_a_gene_that_only_one_list_has_gets_rank_0_in_the_other():
    # Genes 5 6 7 8: known 1 .5 0 0, predicted 1 0 .5 0.
    scores = compare_lists([np.array([5, 6, 7])], [np.array([5, 7, 8])])
    assert (scores.l_dist, scores.bleu) == (2, 0.0)
    assert scores.pearson == pytest.approx(0.4375 / 0.6875)
    assert scores.spearman == pytest.approx(0.5)


def test_lists_are_compared_cell_by_cell_and_joined_for_the_edit_distance():
    known = [np.array([1, 2]), np.array([2, 1])]
    assert tuple(compare_lists(known, known)) == pytest.approx((0, 1.0, 1.0, 1.0))
    swapped = compare_lists(known, known[::-1])
    assert swapped.spearman == pytest.approx(-1.0)
    assert swapped.l_dist == 3  # 1 2 2 1 -> 2 2 1 -> 2 1 1 -> 2 1 1 2


def test_ranks_fall_from_one_to_zero_and_a_constant_has_no_correlation():
    np.testing.assert_array_equal(relative_ranks(3), [1.0, 0.5, 0.0])
    np.testing.assert_array_equal(relative_ranks(1), [1.0])
    assert math.isnan(correlation(np.ones(3), np.arange(3.0)))
