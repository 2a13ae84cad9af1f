"""What the report says of checkpoints whose history is known, because they were made for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData
from safetensors.torch import load_file
from torch.nn import functional as F

from genemamba_sc import CheckpointReport, EncoderConfig, GeneMambaModel, checkpoint_report
from genemamba_sc.checks._init import check_layers, layers_verdict, table_deviates
from genemamba_sc.checks._leak import READINGS, LeakReport, measure_leak
from genemamba_sc.data import Tokens
from genemamba_sc.nn import BiMambaEncoder, Reading

Publish = Callable[..., Path]
Tensors = dict[str, torch.Tensor]
EXACT, TESTED = "as at the start", "like the start"
IDS = torch.tensor([[5, 9, 2, 7, 3], [4, 6, 8, 1, 1]])
LENGTHS = torch.tensor([5, 3])


def encoder_of(**config: Any) -> BiMambaEncoder:
    published = {
        "pre_norm": False,
        "expression": "none",
        "norm": "token",
        "shared_combiner": True,
        "residual_init": 1.0,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BiMambaEncoder(EncoderConfig(vocab_size=12, d_model=16, headdim=8, **{**published, **config})).eval()


# ---------------------------------------------------------------------- weights


@pytest.mark.parametrize(
    ("state", "layers", "rest", "bug"),
    [
        ("trained", "trained", True, False),
        ("identity bug", "untouched", True, True),
        ("fresh", "untouched", False, False),
    ],
)
@pytest.mark.parametrize("layout", ["original", "huggingface"])
def test_what_training_did(
    publish: Publish, tmp_path: Path, layout: str, state: str, layers: str, rest: bool, bug: bool
):
    report = checkpoint_report(publish(tmp_path / "checkpoint", layout=layout, state=state))
    assert (report.layout, report.layers, report.rest_trained) == (layout, layers, rest)
    assert report.looks_like_identity_bug is bug
    assert (report.has_combiner, report.combine, report.leak) == (False, "mean", None)
    assert (report.encoder_config.n_layer, report.encoder_config.vocab_size) == (3, 42)
    stored = load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert report.n_parameters == sum(tensor.numel() for tensor in stored.values())
    found = {family.name: family.verdict for family in report.families}
    untouched = {
        "D": EXACT, "norm.weight": EXACT, "A_log": TESTED, "dt_bias": TESTED, "in_proj.weight": TESTED,
        "conv1d.weight": TESTED, "conv1d.bias": TESTED, "out_proj.weight": TESTED,
    }  # fmt: skip
    # Noise of 0.05 hides in the few values of the scan, not in the matrices.
    if state == "trained":
        for name in ("D", "norm.weight", "in_proj.weight", "conv1d.weight", "out_proj.weight"):
            assert found[name] == "changed"
    else:
        assert found == untouched
    assert ("training with the identity bug of the public code gives" in str(report)) == bug
    assert ("these weights were never trained" in str(report)) == (state == "fresh")
    assert "Weights do not tell whether the code" in str(report)


def test_a_report_reads_like_this(publish: Publish, tmp_path: Path):
    lines = str(checkpoint_report(publish(tmp_path / "bug", state="identity bug", n_layer=2))).splitlines()
    n_parameters = 2 * 42 * 32 + 42 + 32 + 2 * (152 * 32 + 80 * 5 + 24 + 64 + 64 * 32)
    assert lines[:5] == [
        f"bug: original layout, {n_parameters:,} parameters",
        "2 layers, width 32, 42 rows in the gene table",
        "directions combined by mean (no combiner is stored)",
        "layers: untouched; no gradient reached them.",
        "The rest was trained. That is what training with the identity bug of the public code gives, whose layers "
        "return their input.",
    ]
    assert lines[5] == "  D               as at the start 0 of 2 layers changed; 0.000% of 16 values outside 1"
    assert lines[9].startswith(
        "  in_proj.weight  like the start  0 of 2 layers changed; 0.000% of 9,728 values outside ±0.1768"
    )


def test_a_report_needs_no_genes_and_no_mode(publish: Publish, tmp_path: Path):
    folder = publish(tmp_path / "gate", mode="gate")
    (folder / "tokenizer.json").unlink()
    report = checkpoint_report(folder)
    assert (report.has_combiner, report.combine) == (True, None)
    assert "combined by gate or concat; config.json does not say (a combiner is stored)" in str(report)
    assert checkpoint_report(folder, combine="gate").combine == "gate"


def test_layers_of_half_precision_are_not_mistaken_for_trained_ones(publish: Publish, tmp_path: Path):
    for dtype in (torch.float16, torch.bfloat16):
        report = checkpoint_report(publish(tmp_path / str(dtype), state="fresh", dtype=dtype))
        assert (report.layers, report.rest_trained) == ("untouched", False)


def change_layer(i: int, part: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], None]:
    name = f"mamba_mixer.layers.{i}.mamba.{part}"
    return lambda tensors: tensors.update({name: change(tensors[name])})


def test_one_layer_that_moved_is_counted(publish: Publish, tmp_path: Path):
    folder = publish(tmp_path / "one", state="fresh", change=change_layer(1, "D", lambda d: d + 1e-6))
    report = checkpoint_report(folder)
    assert report.layers == "partly trained"
    assert [(f.n_changed, f.n_layers, f.outside) for f in report.families if f.name == "D"] == [
        (1, 3, pytest.approx(1 / 3))
    ]


def test_another_initialisation_is_not_called_training(publish: Publish, tmp_path: Path):
    # As transformers starts its own models: normal, standard deviation 0.02.
    folder = publish(
        tmp_path / "normal",
        state="fresh",
        change=change_layer(0, "in_proj.weight", lambda w: 0.02 * torch.randn_like(w)),
    )
    report = checkpoint_report(folder)
    assert report.layers == "another start"
    assert "another initialisation without training, or training that spared these" in str(report)


def test_a_small_step_on_a_matrix_is_seen():
    config = EncoderConfig.published(n_layer=1, d_model=64)
    encoder = BiMambaEncoder(config).state_dict()
    before = {family.name: family for family in check_layers(encoder, config)}
    weight = encoder["layers.0.mixer.in_proj.weight"]
    weight += 1e-3 * torch.sign(weight)  # what one step of Adam does
    after = {family.name: family for family in check_layers(encoder, config)}
    assert (before["in_proj.weight"].verdict, before["in_proj.weight"].outside) == (TESTED, 0.0)
    assert after["in_proj.weight"].verdict == "changed" and 0.003 < after["in_proj.weight"].outside < 0.02
    assert after["A_log"] == before["A_log"]


def test_fresh_encoders_are_rarely_called_changed():
    config = EncoderConfig.published(n_layer=2, d_model=64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        verdicts = [layers_verdict(check_layers(BiMambaEncoder(config).state_dict(), config)) for _ in range(30)]
    assert verdicts == ["untouched"] * 30


def test_a_bag_of_tokens_has_no_layers_to_judge():
    config = EncoderConfig(vocab_size=12, d_model=16, n_layer=0)
    assert check_layers(BiMambaEncoder(config).state_dict(), config) == ()
    assert layers_verdict(()) is None


def test_a_gene_table_that_was_trained_is_told_from_a_new_one():
    table = torch.randn(2000, 16, generator=torch.Generator().manual_seed(0))
    assert not table_deviates(table)
    assert table_deviates(1.1 * table)


# ------------------------------------------------------------- reading directions


@pytest.mark.parametrize(
    "config",
    [
        {"combine": "mean", "n_layer": 2},
        {"combine": "sum", "n_layer": 2},
        {"combine": "gate", "n_layer": 2},
        {"combine": "concat", "n_layer": 2},
        {"combine": "gate", "n_layer": 2, "shared_combiner": False},
        {"n_layer": 2, "pre_norm": True, "expression": "bins", "norm": "cell", "context_len": 4},
        {"n_layer": 0},
    ],
    ids=["mean", "sum", "gate", "concat", "gates", "ours", "bag"],
)
def test_reading_both_ways_is_what_the_encoder_does(config: dict[str, Any]):
    encoder, values = encoder_of(**config), torch.rand(2, 5) + 0.5
    with torch.inference_mode():
        expected = encoder(IDS, values, LENGTHS).hidden
        torch.testing.assert_close(encoder(IDS, values, LENGTHS, reading="both").hidden, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("combine", ["mean", "sum", "gate", "concat"])
@pytest.mark.parametrize(
    ("reading", "sees_left", "sees_right"),
    [("both", True, True), ("left to right", True, False), ("right to left", False, True), ("none", False, False)],
)
def test_a_direction_that_is_off_sees_nothing(combine: str, reading: Reading, sees_left: bool, sees_right: bool):
    encoder = encoder_of(combine=combine, n_layer=2)
    changed = IDS.clone()
    changed[:, 1] = 10
    with torch.inference_mode():
        before, after = (encoder(ids, None, LENGTHS, reading=reading).hidden for ids in (IDS, changed))
    moved = (before - after).abs().amax(dim=-1) > 1e-6
    # Position 0 has the change on its right, position 2 on its left.
    assert moved[:, 0].tolist() == [sees_right] * 2
    assert moved[:, 2].tolist() == [sees_left] * 2
    assert moved[:, 1].all() and not moved[1, 3:].any()


def test_without_layers_the_table_and_the_norm_are_left():
    encoder = encoder_of(n_layer=3)
    expected = F.rms_norm(encoder.embeddings(IDS), (16,), encoder.norm_f.weight, 1e-5)
    expected[1, 3:] = 0
    torch.testing.assert_close(encoder(IDS, None, LENGTHS, reading="none").hidden, expected)


# ------------------------------------------------------------------------- leak


def random_tokens(n_cells: int = 64, length: int = 24, seed: int = 0) -> Tokens:
    """Genes in random order: nothing but reading the next one tells which it is."""
    rng = np.random.default_rng(seed)
    ids = np.stack([rng.permutation(40)[:length] + 2 for _ in range(n_cells)]).astype(np.int32)
    values = np.ones(ids.shape, dtype=np.float32)
    return Tokens(ids, values, np.full(n_cells, length, dtype=np.int32))


def copying(tensors: Tensors) -> None:
    """Make the only layer copy its neighbour: the one before in each reading direction.

    silu(a) - silu(-a) = a, so a convolution that looks one step back, D and out_proj hand the embedding through.
    """
    identity = torch.eye(32)
    table = torch.sign(tensors["embeddings.weight"])
    table[:, 0] = 1
    tensors["embeddings.weight"] = table
    tensors["lm_head.weight"], tensors["lm_head.bias"] = table.clone(), torch.zeros(42)
    layer = {name.split("mamba.")[1]: tensor for name, tensor in tensors.items() if ".mamba." in name}
    for name in ("in_proj.weight", "conv1d.weight", "conv1d.bias"):
        layer[name].zero_()
    layer["in_proj.weight"][:64, 0] = 5  # the gate is open
    layer["in_proj.weight"][64:128] = torch.cat([identity, -identity])
    layer["conv1d.weight"][:, 0, 2] = 1
    layer["D"].fill_(1.0)
    layer["norm.weight"].fill_(1.0)
    layer["out_proj.weight"].copy_(100 * torch.cat([identity, -identity], dim=1))
    if "mamba_mixer.aggr.bias" in tensors:  # the gate takes what was read from right to left
        tensors["mamba_mixer.aggr.weight"].zero_()
        tensors["mamba_mixer.aggr.bias"].fill_(-20.0)


@pytest.fixture(scope="module")
def leaking(publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that names the next token by reading it."""
    folder = tmp_path_factory.mktemp("leak") / "leaking"
    publish(folder, state="fresh", n_layer=1, mode="gate", config={"mode": "gate"}, change=copying)
    return with_medians(folder)


def with_medians(folder: Path) -> Path:
    rows = "".join(f"ENSG{i:011d}\t1.0\n" for i in range(1, 41))
    (folder / "medians.tsv").write_text(f"ensembl_id\tnonzero_median\n{rows}")
    return folder


def test_a_leak_is_found(leaking: Path):
    report = checkpoint_report(leaking, random_tokens())
    assert report.leak is not None and report.leak.n_cells == 16
    # In random order the next gene cannot be told but by reading it.
    scores = {name: score.accuracy for name, score in report.leak.next_token.items()}
    assert scores.pop("target hidden") < 0.05
    assert scores == {"both": 1.0, "left to right": 0.0, "right to left": 1.0, "none": 0.0}
    assert report.leak.next_token["target hidden"].loss > report.leak.next_token["both"].loss
    assert report.leak.layer_effect > 1
    assert "points are lost when the target is hidden, +100.0% when the reverse direction is off" in str(report)
    assert "next token, read right to left   accuracy 100.0%" in str(report)


def test_equal_directions_cannot_tell_the_next_token_from_the_one_before(publish: Publish, tmp_path: Path):
    folder = publish(tmp_path / "mean", state="fresh", n_layer=1, change=copying)
    report = checkpoint_report(with_medians(folder), random_tokens(), n_cells=24)
    assert report.leak is not None
    scores = {name: score.accuracy for name, score in report.leak.next_token.items()}
    assert (scores["left to right"], scores["right to left"]) == (0.0, 1.0)
    assert 0.35 < scores["both"] < 0.65


@pytest.mark.parametrize("combine", ["mean", "sum"])
def test_a_cell_read_backwards_is_the_same_cell_where_directions_are_equal(combine: str):
    encoder, order = encoder_of(combine=combine, n_layer=3), [4, 3, 2, 1, 0]
    with torch.inference_mode():
        forwards, backwards = (encoder(IDS[:1, turn], None, LENGTHS[:1]) for turn in (slice(None), order))
    torch.testing.assert_close(backwards.hidden[:, order], forwards.hidden, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(backwards.cell, forwards.cell, atol=1e-5, rtol=1e-4)


def losses(leak: LeakReport | None) -> dict[str, float]:
    assert leak is not None
    return {name: score.loss for name, score in (leak.next_token | leak.same_token).items()}


def test_the_report_is_the_same_every_time(leaking: Path):
    first, second, other = (
        losses(checkpoint_report(leaking, random_tokens(), n_cells=4, seed=seed).leak) for seed in (0, 0, 1)
    )
    assert first == pytest.approx(second, abs=1e-4)
    assert first != pytest.approx(other, abs=1e-4)


def test_a_head_trained_without_layers_betrays_itself(publish: Publish, tmp_path: Path):
    def successor_head(tensors: Tensors) -> None:
        # The gene after i is i + 1: the head of an encoder whose layers returned their input.
        table = tensors["embeddings.weight"]
        weight = torch.zeros_like(table)
        weight[3:] = 2 * F.normalize(table[2:-1], dim=1)
        tensors["lm_head.weight"], tensors["lm_head.bias"] = weight, torch.zeros(42)
        tensors["norm_f.weight"] = torch.full((32,), 1.5)

    folder = with_medians(publish(tmp_path / "bug", state="fresh", change=successor_head))
    ids = np.tile(np.arange(2, 42, dtype=np.int32), (8, 1))
    tokens = Tokens(ids, np.ones(ids.shape, dtype=np.float32), np.full(8, 40, dtype=np.int32))
    report = checkpoint_report(folder, tokens)
    assert report.leak is not None and report.looks_like_identity_bug
    assert report.leak.next_token["none"].accuracy == 1.0
    assert report.leak.next_token["none"].loss < report.leak.next_token["both"].loss
    assert "the head was trained on the embeddings alone" in str(report)


def test_a_head_for_hidden_genes_is_asked_for_those_alone(trained: GeneMambaModel, make_cells: Any, tmp_path: Path):
    trained.save_pretrained(tmp_path / "own")
    cells: AnnData = make_cells(seed=3)
    report = checkpoint_report(tmp_path / "own", cells, n_cells=40)
    assert isinstance(report, CheckpointReport) and report.leak is not None
    assert (report.layout, report.combine, report.layers) == ("genemamba_sc", "mean", "trained")
    assert report.leak.next_token == {} and report.leak.same_token.keys() == {"visible", "hidden"}
    # Cells are cut to the 16 tokens that the layers read.
    assert 40 <= report.leak.n_positions <= 40 * 15 and report.leak.n_cells == 40
    assert 0 < report.leak.most_frequent < 0.5
    assert report.leak.same_token["hidden"].loss < np.log(44) + 1


def test_a_hidden_target_is_replaced_by_the_mask_and_a_visible_one_is_not():
    encoder, head = encoder_of(n_layer=2), {"weight": torch.randn(12, 16), "bias": torch.zeros(12)}
    ids = np.array([[2, 3, 4], [5, 6, 7]], dtype=np.int32)
    tokens = Tokens(ids, np.ones((2, 3), dtype=np.float32), np.full(2, 3, dtype=np.int32))
    first = losses(measure_leak(encoder, head, tokens))
    with torch.no_grad():
        encoder.embeddings.weight[11] += 1  # the row of [MASK]
    second = losses(measure_leak(encoder, head, tokens))
    assert first.keys() == second.keys() == {*READINGS, "target hidden", "visible", "hidden"}
    for name in first:
        assert (second[name] == pytest.approx(first[name], abs=1e-5)) == (name not in ("target hidden", "hidden"))


def test_what_cannot_be_asked_is_said(publish: Publish, tmp_path: Path, leaking: Path):
    base = publish(tmp_path / "base", change=lambda t: (t.pop("lm_head.weight"), t.pop("lm_head.bias")))
    report = checkpoint_report(with_medians(base), random_tokens())
    assert report.leak is None and "leak: not measured; pass cells, and weights that have a head." in str(report)
    short = Tokens(np.full((3, 1), 2, dtype=np.int32), np.ones((3, 1), dtype=np.float32), np.ones(3, dtype=np.int32))
    with pytest.raises(ValueError, match=r"cells of at least two tokens\. Got none\. Pass cells with more genes"):
        checkpoint_report(leaking, short)
    foreign = Tokens(short.ids + 90, short.values, short.lengths)
    with pytest.raises(ValueError, match=r"below 44\. Got 92\. Make the tokens with its vocabulary"):
        checkpoint_report(leaking, foreign)
    with pytest.raises(ValueError, match=r"n_cells must be at least 1\. Got 0"):
        checkpoint_report(leaking, n_cells=0)
    gate = publish(tmp_path / "gate", mode="gate")
    with pytest.raises(ValueError, match=r"names no mode\. Pass combine='gate'"):
        checkpoint_report(gate, random_tokens())


# ---------------------------------------------------------- random gene vectors


def test_weights_are_compared_with_random_gene_vectors(trained: GeneMambaModel, make_cells: Any, tmp_path: Path):
    trained.save_pretrained(tmp_path / "own")
    cells: AnnData = make_cells(n_obs=90, seed=3)
    report = checkpoint_report(tmp_path / "own", cells)
    assert report.random is not None and (report.random.n_cells, report.random.width) == (90, 16)
    assert report.types is None and str(report.random) in str(report)
    report = checkpoint_report(tmp_path / "own", cells, labels_key="cell_type", batch_key="batch", n_compared=80)
    assert report.random is not None and report.random.n_cells == 80
    assert report.types is not None and (report.types.n_cells, report.types.n_types) == (80, 3)
    assert report.types.split == "a batch" and str(report.types) in str(report)
    assert report.types.weights > 0.9 and report.types.expression > 0.9 and report.types.random.min() > 0.5


def test_cells_without_a_label_are_left_out(trained: GeneMambaModel, make_cells: Any, tmp_path: Path):
    trained.save_pretrained(tmp_path / "own")
    cells: AnnData = make_cells(n_obs=90, seed=3)
    labels = cells.obs["cell_type"].astype(object)
    labels[:30] = None
    cells.obs["cell_type"] = labels
    report = checkpoint_report(tmp_path / "own", cells, labels_key="cell_type")
    assert report.types is not None and report.types.n_cells == 60
    assert report.random is not None and report.random.n_cells == 90


def test_few_cells_are_not_compared_and_that_is_said(trained: GeneMambaModel, make_cells: Any, tmp_path: Path):
    trained.save_pretrained(tmp_path / "own")
    report = checkpoint_report(tmp_path / "own", make_cells(n_obs=40))
    assert report.random is None
    assert "random gene vectors: not compared; pass 60 cells or more" in str(report)
    assert checkpoint_report(tmp_path / "own").random is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels_key": "kind"}, r"labels_key must name a column of obs\. Got 'kind'; the columns are \['cell_type'"),
        ({"labels_key": "cell_type", "batch_key": "lab"}, r"batch_key must name a column of obs\. Got 'lab'"),
        ({"batch_key": "batch"}, r"Got batch_key='batch' without labels_key\. Pass both"),
        ({"n_compared": 59}, r"n_compared must be at least 60\. Got 59"),
    ],
)
def test_columns_that_are_not_there_are_refused(
    arguments: dict[str, Any], message: str, make_cells: Any, leaking: Path
):
    with pytest.raises(ValueError, match=message):
        checkpoint_report(leaking, make_cells(), **arguments)


def test_types_need_cells_with_columns(leaking: Path):
    for cells in (None, random_tokens()):
        with pytest.raises(ValueError, match=r"labels_key names a column of cells\.obs\. Got no AnnData"):
            checkpoint_report(leaking, cells, labels_key="cell_type")
