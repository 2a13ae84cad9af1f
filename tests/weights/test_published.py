"""Published weights, in both layouts: every tensor finds its place or is named."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from genemamba_sc import EncoderConfig, Pretrained, read_pretrained
from genemamba_sc.nn import BiMambaEncoder
from genemamba_sc.weights._published import read_published_weights
from genemamba_sc.weights._published_names import original_name

Publish = Callable[..., Path]
MEDIANS = "ensembl_id\tnonzero_median\tsymbol\n" + "".join(f"ENSG{i:011d}\t{i / 10}\tGENE{i}\n" for i in range(1, 41))


def read(folder: Path, **arguments: Any) -> Pretrained:
    (folder / "medians.tsv").write_text(MEDIANS)
    return read_pretrained(folder, **arguments)


def hidden(pretrained: Pretrained) -> torch.Tensor:
    encoder = BiMambaEncoder(pretrained.encoder_config)
    encoder.load_state_dict(pretrained.encoder)
    ids = torch.tensor([[5, 9, 2, 41, 7], [3, 4, 1, 1, 1]])
    with torch.inference_mode():
        return encoder.eval()(ids, None, torch.tensor([5, 2])).hidden


def test_the_original_layout(publish: Publish, tmp_path: Path):
    folder = publish(tmp_path / "original")
    stored, found = load_file(folder / "model.safetensors"), read(folder)
    assert len(stored) == 3 * 8 + 4
    # The table of REFERENCE: in_proj is [z 2d | x 2d | B n | C n | dt h].
    assert stored["mamba_mixer.layers.0.mamba.in_proj.weight"].shape == (64 + 64 + 8 + 8 + 8, 32)
    assert found.encoder_config == EncoderConfig(
        vocab_size=44, d_model=32, n_layer=3, d_state=8, d_conv=4, expand=2, headdim=8, combine="mean",
        shared_combiner=True, pre_norm=False, expression="none", norm="token", residual_init=1.0,
    )  # fmt: skip
    for name, tensor in found.encoder.items():
        if name != "embeddings.weight":
            assert torch.equal(tensor, stored[original_name(name)])
    assert (found.max_len, found.origin) == (2048, "original")
    assert found.manifest["layout"] == "original" and found.manifest["n_parameters"] == sum(
        tensor.numel() for tensor in stored.values()
    )


def test_both_layouts_give_the_same_function(publish: Publish, tmp_path: Path):
    original = read(publish(tmp_path / "original"))
    release = read(publish(tmp_path / "release", layout="huggingface"))
    torch.testing.assert_close(hidden(release), hidden(original))
    assert hidden(release).std() > 0.1
    assert (release.manifest["layout"], release.max_len) == ("huggingface", 1024)
    assert torch.equal(release.gene_head["bias"], original.gene_head["bias"])


@pytest.mark.parametrize("prefix", ["", "model.", "backbone.model.", "base_model.0."])
def test_any_prefix_is_understood(publish: Publish, tmp_path: Path, prefix: str):
    expected = hidden(read(publish(tmp_path / "original")))

    def put_before(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            tensors[prefix + name] = tensors.pop(name)

    torch.testing.assert_close(hidden(read(publish(tmp_path / "release", change=put_before))), expected)


def test_new_rows_are_the_mean_of_all(publish: Publish, tmp_path: Path):
    folder = publish(tmp_path / "original")
    stored, found = load_file(folder / "model.safetensors"), read(folder)
    for rows, name in (
        (found.encoder["embeddings.weight"], "embeddings.weight"),
        (found.gene_head["weight"], "lm_head.weight"),
        (found.gene_head["bias"], "lm_head.bias"),
    ):
        assert torch.equal(rows[:42], stored[name])
        torch.testing.assert_close(rows[42:], stored[name].mean(0, keepdim=True).expand(2, *stored[name].shape[1:]))
    assert (found.vocabulary.cls_id, found.vocabulary.mask_id, found.manifest["rows_added"]) == (42, 43, 2)


def test_a_fine_tuned_checkpoint_has_its_own_row_for_cls(publish: Publish, tmp_path: Path):
    folder = publish(tmp_path / "tuned", n_rows=43)
    stored, table = (
        load_file(folder / "model.safetensors")["embeddings.weight"],
        read(folder).encoder["embeddings.weight"],
    )
    assert torch.equal(table[:43], stored) and table.shape == (44, 32)
    torch.testing.assert_close(table[43], stored.mean(0))


def test_half_precision_is_read_as_float32(publish: Publish, tmp_path: Path):
    folder = publish(tmp_path / "half", dtype=torch.bfloat16)
    stored, found = load_file(folder / "model.safetensors"), read(folder)
    assert stored["norm_f.weight"].dtype == torch.bfloat16
    assert {tensor.dtype for tensor in found.encoder.values()} == {torch.float32}
    assert torch.equal(found.encoder["norm_f.weight"], stored["norm_f.weight"].float())


def test_shards(publish: Publish, tmp_path: Path):
    expected = hidden(read(publish(tmp_path / "whole")))
    folder = publish(tmp_path / "shards")
    shard(folder)
    torch.testing.assert_close(hidden(read(folder)), expected)


def shard(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for file in set(places.values()):
        save_file({name: tensor for name, tensor in tensors.items() if places[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_a_base_model_has_no_head_and_a_tied_one_has_the_table(publish: Publish, tmp_path: Path):
    base = read(publish(tmp_path / "base", change=lambda t: (t.pop("lm_head.weight"), t.pop("lm_head.bias"))))
    assert base.gene_head == {}
    tied = read(publish(tmp_path / "tied", change=lambda t: t.pop("lm_head.weight")))
    assert torch.equal(tied.gene_head["weight"], tied.encoder["embeddings.weight"])


# ---------------------------------------------------------------- combine mode


@pytest.mark.parametrize(
    ("mode", "config", "combine", "expected"),
    [
        ("mean", {}, None, "mean"),
        ("mean", {}, "sum", "sum"),
        ("mean", {"mode": "sum"}, None, "sum"),
        ("mean", {"mamba_mode": "gate"}, "mean", "mean"),
        ("gate", {}, "gate", "gate"),
        ("gate", {}, "concat", "concat"),
        ("gate", {"mamba_mode": "gate"}, None, "gate"),
        ("gate", {"mode": "concat"}, None, "concat"),
        ("gate", {"mode": "concat"}, "gate", "gate"),
    ],
)
@pytest.mark.parametrize("layout", ["original", "huggingface"])
def test_the_combine_mode(
    publish: Publish, tmp_path: Path, layout: str, mode: str, config: dict[str, str], combine: Any, expected: str
):
    folder = publish(tmp_path / "checkpoint", layout=layout, mode=mode, config=config, n_layer=1)
    found = read(folder, combine=combine)
    assert found.encoder_config.combine == expected
    assert ("combiner.weight" in found.encoder) == (mode == "gate")


@pytest.mark.parametrize(
    ("mode", "config", "combine", "message"),
    [
        ("gate", {}, None, r"has a combiner .*config\.json names no mode\. Pass combine='gate' .* or combine='concat'"),
        ("gate", {"mode": "mean"}, None, r"with a combiner \(aggr\) .*'gate' or 'concat'\. Got config.* says 'mean'"),
        ("gate", {}, "sum", r"with a combiner .*Got combine='sum'\. Pass combine='gate' or combine='concat'"),
        ("mean", {}, "gate", r"with no combiner \(aggr\) it is 'mean' or 'sum'\. Got combine='gate'\. Pass"),
        ("mean", {"mode": "max"}, None, r"must be one of \['mean', 'sum', 'gate', 'concat'\]\. Got 'max'\. Correct"),
    ],
)
def test_a_combine_mode_that_cannot_be(
    publish: Publish, tmp_path: Path, mode: str, config: dict[str, str], combine: Any, message: str
):
    folder = publish(tmp_path / "checkpoint", mode=mode, config=config, n_layer=1)
    with pytest.raises(ValueError, match=message):
        read(folder, combine=combine)


# --------------------------------------------------------------------- refusals


def renamed(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.update({new: tensors.pop(old)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("mamba_mixer.layers.1.mamba.D"), r"missing: mamba_mixer\.layers\.1\.mamba\.D\. Keep config"),
        (lambda t: t.pop("norm_f.weight"), r"missing: norm_f\.weight"),
        (lambda t: t.pop("embeddings.weight"), r"at least one layer .* missing: embeddings\.weight\. Give"),
        (lambda t: [t.pop(n) for n in list(t) if "layers" in n], r"missing: .*layers\.0\.mamba\.norm\.weight"),
        (lambda t: t.update({"classifier.0.weight": torch.ones(2)}), r"over: classifier\.0\.weight\. Remove heads"),
        (lambda t: t.update({"layers.0.pre_norm.weight": torch.ones(2)}), r"left over: layers\.0\.pre_norm\.weight"),
        (lambda t: t.update({"x.norm_f.weight": torch.ones(32)}), r"'norm_f\.weight' and 'x\.norm_f\.weight' both end"),
        (renamed("norm_f.weight", "final_norm.weight"), r"left over: final_norm\.weight"),
        (
            lambda t: t.update({"mamba_mixer.layers.2.mamba.D": torch.ones(3)}),
            r"of another shape: mamba_mixer\.layers\.2\.mamba\.D is \(3,\), must be \(8,\)",
        ),
        (lambda t: t.update({"lm_head.weight": torch.ones(3, 32)}), r"lm_head\.weight is \(3, 32\), must be \(42"),
        (lambda t: t.update({"embeddings.weight": torch.ones(3)}), r"must have 2, 1, 1 and 3 axes, .*Got .* \[\(3,\)"),
        (renamed("mamba_mixer.layers.2.mamba.D", "mamba_mixer.layers.999999.mamba.D"), r"for 1000000 layers .* has 4"),
        (lambda t: t.update({"norm_f.weight": torch.full((32,), torch.nan)}), r"infinite ones in norm_f\.weight"),
        (lambda t: t.update({"norm_f.weight": torch.ones(32, dtype=torch.int64)}), r"'norm_f\.weight' is I64"),
        (lambda t: [t.pop(n) for n in list(t) if ".2." in n], r"agree on mamba_layer; it says 3, the tensors 2\. Keep"),
    ],
    ids=["a tensor missing", "no norm", "no table", "no layers", "another head", "a layer with more", "two of one",
         "another name", "another shape", "a head of another shape", "a table of one axis", "a million layers",
         "not finite", "whole numbers", "fewer layers"],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(publish: Publish, tmp_path: Path, change: Any, message: str):
    with pytest.raises(ValueError, match=message):
        read(publish(tmp_path / "checkpoint", change=change))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"d_model": 64}, r"agree on d_model; it says 64, the tensors 32\. Keep the files"),
        ({"vocab_size": 99}, r"agree on vocab_size; it says 99, the tensors 42"),
        ({"vocab_size": [42]}, r"agree on vocab_size; it says \[42\], the tensors 42"),
        ({"max_position_embeddings": "long"}, r"must have a whole number .* as max_position_embeddings\. Got 'long'"),
    ],
)
def test_config_and_weights_must_agree(publish: Publish, tmp_path: Path, config: dict[str, int], message: str):
    with pytest.raises(ValueError, match=message):
        read(publish(tmp_path / "checkpoint", config=config))


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def truncated(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.truncate(2000)


def lost_shard(folder: Path) -> None:
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def index_edited(places: dict[str, str]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        shard(folder)
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        index["weight_map"] |= places
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return change


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (pickled, ValueError, r"has pytorch_model\.bin\. .*can run any code.*(?s:.*)save_file\(.*'pytorch_model\.bin'"),
        (truncated, ValueError, r"is not a readable safetensors file .*it is damaged\. Copy it again"),
        (lambda f: (f / "model.safetensors").unlink(), FileNotFoundError, r"needs model\.safetensors.*has neither"),
        (lambda f: (f / "config.json").unlink(), FileNotFoundError, r"needs config\.json; .* has none\. Give"),
        (lambda f: (f / "config.json").write_text("[1]"), ValueError, r"must hold a JSON object"),
        (lambda f: (f / "tokenizer.json").unlink(), FileNotFoundError, r"need the genes their rows stand for.*Put the"),
        (lost_shard, FileNotFoundError, r"names the shard model-00002-of-00002\.safetensors, which .* lacks"),
        (index_edited({"a": "../a.safetensors"}), ValueError, r"beside its index\. Got '\.\./a\.safetensors'"),
        (index_edited({"a": "model-00001-of-00002.safetensors"}), ValueError, r"differ in 1, such as \['a'\]\. Keep"),
    ],
    ids=["a pickle", "half a file", "no weights", "no config", "a config that is a list", "no genes", "a shard lost",
         "a shard elsewhere", "a tensor lost"],
)  # fmt: skip
def test_files_that_cannot_be_read(
    publish: Publish, tmp_path: Path, fault: Callable[[Path], object], error: type[Exception], message: str
):
    folder = publish(tmp_path / "checkpoint")
    fault(folder)
    with pytest.raises(error, match=message):
        read(folder)


def test_the_way_out_of_a_pickle_works(publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    expected = hidden(read(publish(tmp_path / "whole")))
    folder = publish(tmp_path / "checkpoint")
    pickled(folder)
    with pytest.raises(ValueError, match=r"is a pickle") as refused:
        read(folder)
    lines = [line.strip() for line in str(refused.value).splitlines()[1:]]
    assert len(lines) == 2
    monkeypatch.chdir(folder)
    exec("\n".join(lines))
    torch.testing.assert_close(hidden(read(folder)), expected)


def test_a_pickle_alone_is_refused_without_a_config(tmp_path: Path):
    (tmp_path / "model.pt").write_bytes(b"anything")
    with pytest.raises(ValueError, match=r"read from safetensors only; .* has model\.pt\. That is a pickle"):
        read_pretrained(tmp_path)


# ------------------------------------------------------------------------ genes


def test_medians_beside_the_weights_and_by_argument(publish: Publish, tmp_path: Path):
    folder = publish(tmp_path / "checkpoint")
    (tmp_path / "table.tsv").write_text(MEDIANS.replace("\t0.1\t", "\t7.0\t"))
    found = read(folder)
    assert np.array_equal(found.vocabulary.medians, np.arange(1, 41) / 10) and found.vocabulary.symbols[1] == "GENE2"
    assert read(folder, medians=tmp_path / "table.tsv").vocabulary.medians[0] == 7.0
    found.vocabulary.to_tsv(folder / "vocabulary.tsv.gz")
    (folder / "tokenizer.json").unlink()
    assert read(folder).vocabulary == found.vocabulary


def test_a_table_of_medians_may_have_more_genes_than_the_weights_and_must_exist(publish: Publish, tmp_path: Path):
    folder = publish(tmp_path / "checkpoint")
    more = "".join(f"ENSG{i:011d}\t1.0\tGENE{i}{'x' * 50}\n" for i in range(1_000, 3_000))
    (tmp_path / "table.tsv").write_text(MEDIANS + more)
    assert read_pretrained(folder, medians=tmp_path / "table.tsv").vocabulary.medians[0] == 0.1
    with pytest.raises(
        FileNotFoundError, match=r"medians must name a table of genes\. Got '.*none\.tsv', which is not"
    ):
        read_pretrained(folder, medians=tmp_path / "none.tsv")


def test_unknown_medians_are_told(publish: Publish, tmp_path: Path):
    folder = publish(tmp_path / "checkpoint")
    with pytest.warns(UserWarning, match=r"No medians are known .*ranks then differ from those of training.*medians="):
        found = read_pretrained(folder)
    assert set(found.vocabulary.medians) == {1.0}


def test_weights_in_a_subfolder_share_the_genes_of_the_root(publish: Publish, tmp_path: Path):
    publish(tmp_path / "48l")
    (tmp_path / "48l" / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    (tmp_path / "medians.tsv").write_text(MEDIANS)
    assert read_pretrained(tmp_path, subfolder="48l").vocabulary.symbols[0] == "GENE1"


def test_a_table_of_other_genes_is_refused(publish: Publish, tmp_path: Path):
    folder = publish(tmp_path / "checkpoint", n_rows=60)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"].pop("[CLS]")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(
        ValueError, match=r"a row for each of 40 genes, \[UNK\] and \[PAD\].*Got 60 rows\. Pass the token"
    ):
        read(folder)


def test_the_published_tokenizer_and_config(real_data: Path, publish: Publish, tmp_path: Path):
    published = real_data / "published"
    fields = json.loads((published / "config.json").read_text())
    assert (fields["d_model"], fields["mamba_layer"], fields["vocab_size"]) == (512, 24, 25_426)
    folder = publish(tmp_path / "checkpoint", n_rows=25_426, n_layer=1)
    (folder / "tokenizer.json").write_bytes((published / "gene_tokenizer.json").read_bytes())
    found = read_pretrained(folder, medians=real_data / "genes" / "published_vocabulary.tsv.gz")
    assert (found.vocabulary.cls_id, found.vocabulary.mask_id) == (25_426, 25_427)
    assert found.vocabulary.gene_ids[0] == "ENSG00000000003" and found.vocabulary.medians[0] == 2.00119


# ------------------------------------------------------------------------- size


def full_shapes(d: int, n_layer: int, gate: bool) -> dict[str, tuple[int, ...]]:
    """The documented key table, written out."""
    heads = 2 * d // 64
    shapes = {
        "embeddings.weight": (25_426, d), "norm_f.weight": (d,),
        "lm_head.weight": (25_426, d), "lm_head.bias": (25_426,),
    }  # fmt: skip
    for i in range(n_layer):
        part = {
            "in_proj.weight": (4 * d + 128 + heads, d), "conv1d.weight": (2 * d + 128, 1, 4),
            "conv1d.bias": (2 * d + 128,), "dt_bias": (heads,), "A_log": (heads,), "D": (heads,),
            "norm.weight": (2 * d,), "out_proj.weight": (d, 2 * d),
        }  # fmt: skip
        shapes |= {f"mamba_mixer.layers.{i}.mamba.{name}": shape for name, shape in part.items()}
    return shapes | ({"mamba_mixer.aggr.weight": (d, 2 * d), "mamba_mixer.aggr.bias": (d,)} if gate else {})


def test_the_published_checkpoint_of_24_layers_and_width_512(tmp_path: Path):
    shapes = full_shapes(512, 24, gate=False)
    # Zeros make the file as large as the real one, and writing it as cheap as can be.
    save_file(
        {name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()},
        tmp_path / "model.safetensors",
    )
    (tmp_path / "config.json").write_text('{"d_model": 512, "mamba_layer": 24, "vocab_size": 25426}')
    weights = read_published_weights(tmp_path)
    assert len(shapes) == 196 and weights.n_parameters == 65_744_338
    assert weights.config == EncoderConfig.published()
    assert (weights.layout, weights.combine, weights.has_combiner) == ("original", "mean", False)


@pytest.mark.parametrize(
    ("d", "n_layer", "gate", "expected"),
    [
        (512, 24, True, 66_269_138),
        (768, 24, False, 127_055_122),
        (512, 48, False, 105_426_514),
        (768, 48, True, 216_210_130),
    ],
)
def test_the_documented_shapes_give_the_documented_sizes(d: int, n_layer: int, gate: bool, expected: int):
    assert sum(math.prod(shape) for shape in full_shapes(d, n_layer, gate).values()) == expected
