"""Denoising: the target is the other part of the cell, by a table that does not move."""

import math

import pytest
import torch

from genemamba_sc.nn import BiMambaEncoder, EncoderConfig, ObjectiveConfig, PretrainingObjectives
from genemamba_sc.nn._denoise import SpectralTeacher, denoise_loss

OFF = {"mgm_weight": 0.0, "pathway_weight": 0.0, "denoise_weight": 1.0}


def new_objectives(**given):
    torch.manual_seed(0)
    encoder = BiMambaEncoder(EncoderConfig(vocab_size=40, d_model=8, headdim=8, d_state=4))
    return PretrainingObjectives(encoder, ObjectiveConfig(**{**OFF, **given}), spectral=torch.randn(40, 8))


def new_batch(b=3, l=12):
    generator = torch.Generator().manual_seed(1)
    ids = torch.stack([2 + torch.randperm(36, generator=generator)[:l] for _ in range(b)])
    return {
        "token_ids": ids,
        "token_values": torch.rand(b, l, generator=generator) + 0.5,
        "lengths": torch.full((b,), l),
    }


def test_teacher_weighs_rows_by_value():
    table = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    target = SpectralTeacher(table)(torch.tensor([[3, 2, 1]]), torch.tensor([[math.e - 1, math.e**2 - 1, 0.0]]))
    torch.testing.assert_close(target, torch.tensor([[2.0, 1.0]]))


def test_loss_by_hand():
    first, second = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    targets = torch.tensor([[0.0, 1.0], [9.0, 9.0], [3.0, 0.0], [9.0, 9.0]])  # of the first views, of the second
    # Cell 0: first against (3, 0) is 1, second against (0, 1) is 1; cell 1 takes no part.
    loss = denoise_loss(first, second, targets, torch.tensor([True, False]))
    torch.testing.assert_close(loss, torch.tensor(0.0))
    turned = denoise_loss(second, first, targets, torch.tensor([True, False]))
    torch.testing.assert_close(turned, torch.tensor(1.0))


def test_no_cell_gives_zero_and_a_gradient_of_zero():
    first = torch.ones(2, 3, requires_grad=True)
    loss = denoise_loss(first, first, torch.ones(4, 3), torch.tensor([False, False]))
    loss.backward()
    assert loss.item() == 0
    assert not first.grad.any()


def test_target_does_not_move_and_is_not_saved():
    objectives = new_objectives()
    before = objectives.teacher.table.clone()
    objectives(new_batch()).loss.backward()
    assert objectives.encoder.embeddings.weight.grad.any()
    assert torch.equal(objectives.teacher.table, before)
    assert not any("teacher" in name for name in objectives.state_dict())


def test_a_view_never_holds_a_gene_of_its_target(monkeypatch):
    seen = []
    objectives = new_objectives()
    teach = objectives.teacher.forward
    monkeypatch.setattr(objectives.teacher, "forward", lambda ids, values: seen.append(ids) or teach(ids, values))
    for _ in range(5):
        objectives(new_batch())
    for ids in seen:
        for one, other in zip(*(part.tolist() for part in ids.chunk(2)), strict=True):
            assert not set(one) & set(other) - {1}  # but for pads


def test_refuses_a_table_of_another_width():
    encoder = BiMambaEncoder(EncoderConfig(vocab_size=40, d_model=8, headdim=8))
    with pytest.raises(ValueError, match=r"as wide as the encoder, d_model=8\. Got 4\. Make the table with d_model"):
        PretrainingObjectives(encoder, ObjectiveConfig(**OFF), spectral=torch.randn(40, 4))
    with pytest.raises(ValueError, match=r"denoise_weight=1\.0 needs the spectral vectors .*Got spectral=None"):
        PretrainingObjectives(encoder, ObjectiveConfig(**OFF))
