"""The loss that draws types together across studies, the head of two levels, and cells as a panel reads them."""

import math

import numpy as np
import pytest
import supervised
import torch
from ontology import parents
from supervised import NO_TYPE, TypeHead, on_panel, study_contrast

from genemamba_sc.data import Tokens

TYPES = torch.tensor([0, 0, 1, 1, 0, NO_TYPE])
STUDIES = torch.tensor([0, 1, 0, 1, 0, 1])


def by_loops(z: torch.Tensor, temperature: float) -> float:
    cells = [i for i in range(len(z)) if TYPES[i] != NO_TYPE]
    unit, losses = z / z.norm(dim=1, keepdim=True), []
    for i in cells:
        near = [j for j in cells if TYPES[j] == TYPES[i] and STUDIES[j] != STUDIES[i]]
        far = [j for j in cells if TYPES[j] != TYPES[i]]
        score = {j: float(unit[i] @ unit[j]) / temperature for j in near + far}
        total = math.log(sum(math.exp(score[j]) for j in near + far))
        losses.append(sum(total - score[j] for j in near) / len(near))
    return sum(losses) / len(losses)


def test_the_contrast_equals_its_formula():
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    assert float(study_contrast(z, TYPES, STUDIES, 0.5)) == pytest.approx(by_loops(z, 0.5), rel=1e-9)


def test_one_study_has_no_contrast():
    z = torch.randn(6, 3, requires_grad=True)

    loss = study_contrast(z, TYPES, torch.zeros(6), 0.5)
    loss.backward()

    assert loss.item() == 0.0
    assert z.grad.abs().sum() == 0.0


def test_a_broad_type_is_as_likely_as_its_fine_ones_together():
    head = TypeHead(2, ["CL:0000236", "CL:0000624", "CL:0000625"])

    log_fine = torch.tensor([[0.5, 0.2, 0.3]]).log()

    assert head.broad == ["CL:0000084", "CL:0000236"]
    assert [parents()[name] for name in head.fine] == ["CL:0000236", "CL:0000084", "CL:0000084"]
    assert head.broader(log_fine).exp()[0].tolist() == pytest.approx([0.5, 0.5])


def test_a_panel_drops_genes_and_raises_what_is_left():
    tokens = Tokens(
        np.array([[4, 2, 3], [3, 2, 1]], np.int32),
        np.array([[3, 2, 1], [5, 5, 0]], np.float32),
        np.array([3, 2], np.int32),
    )
    kept, medians = np.array([True, True, True, True, False]), np.array([1.0, 1.0, 1.0, 4.0, 1.0])

    cut = on_panel(tokens, np.array([True, False]), kept, medians)

    # 2 + 4 of 9 counts are left, so each of them is a larger share of its cell.
    assert cut.ids.tolist() == [[2, 3], [3, 2]]
    np.testing.assert_allclose(cut.values, [[3.0, 1.5], [5.0, 5.0]], rtol=1e-6)
    assert cut.lengths.tolist() == [2, 2]


def test_a_panel_without_any_gene_of_a_cell_leaves_it_empty():
    tokens = Tokens(np.array([[4, 2]], np.int32), np.array([[3, 2]], np.float32), np.array([2], np.int32))

    cut = on_panel(tokens, np.array([True]), np.zeros(5, dtype=bool), np.ones(5))

    assert (cut.ids.tolist(), cut.values.tolist(), cut.lengths.tolist()) == ([[1]], [[0.0]], [0])


def test_a_name_that_is_no_type_has_no_code():
    assert supervised.codes(np.array(["b", "", "a"]), ["a", "b"]).tolist() == [1, NO_TYPE, 0]
