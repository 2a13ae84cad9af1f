"""Pretrained weights of this package: what is written is what is read; what is damaged is refused."""

import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from genemamba_sc import EncoderConfig, GeneVocabulary, Pretrained, read_pretrained, write_pretrained
from genemamba_sc._digests import sha256_of
from genemamba_sc.data.tokens._cell_hashes import CellHashes
from genemamba_sc.nn import BiMambaEncoder, GeneHead
from genemamba_sc.weights import _locate, _own
from genemamba_sc.weights._folder import sealed

Fault = Callable[[Path], None]
FILES = ["README.md", "config.json", "evaluation.json", "manifest.json", "model.safetensors", "vocabulary.tsv.gz"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MANIFEST = {
    "title": "GeneMamba mini",
    "license": "cc-by-4.0",
    "training_data": [{"set": "pbmc3k", "cells": np.int64(2638)}, {"set": "kang|ctrl", "cells": 12261}],
    "limits": ["Blood only.", "Human only."],
    "command": "genemamba pretrain",
    "hashes": ["a", "b"],
}
EVALUATION = [{"set": "pbmc3k", "kNN accuracy": 0.91234}, {"set": "zheng", "kNN accuracy": float("nan"), "n": 3}]


def make(d_model: int = 8, seed: int = 0, **changes: Any) -> Pretrained:
    genes = tuple(f"ENSG{i:011d}" for i in range(1, 6))
    vocabulary = GeneVocabulary(genes, ("A", "B", "C", "D", "E"), np.arange(1.0, 6.0), "human")
    config = EncoderConfig(vocab_size=9, d_model=d_model, n_layer=2, headdim=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = BiMambaEncoder(config).state_dict()
    fields: dict[str, Any] = {
        "encoder_config": config, "encoder": dict(encoder), "gene_head": {}, "vocabulary": vocabulary, "max_len": 77,
        "manifest": MANIFEST, "evaluation": EVALUATION, "origin": "here",
    }  # fmt: skip
    return Pretrained(**{**fields, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pretrained(tmp_path / "mini", make())
    return tmp_path / "mini"


def test_what_is_written_is_what_is_read(folder: Path):
    wrote, read = make(), read_pretrained(folder)
    assert sorted(os.listdir(folder)) == FILES
    assert read.encoder_config == wrote.encoder_config
    assert read.encoder.keys() == wrote.encoder.keys()
    assert all(torch.equal(read.encoder[name], wrote.encoder[name]) for name in wrote.encoder)
    assert (read.vocabulary, read.vocabulary.symbols) == (wrote.vocabulary, wrote.vocabulary.symbols)
    assert (read.max_len, read.origin, read.gene_head) == (77, "mini", {})
    assert read.manifest == MANIFEST | {
        "training_data": [{"set": "pbmc3k", "cells": 2638}, MANIFEST["training_data"][1]]
    }
    assert read.evaluation == [EVALUATION[0], {"set": "zheng", "kNN accuracy": None, "n": 3}]


def test_equal_weights_are_equal_files(folder: Path, tmp_path: Path):
    write_pretrained(tmp_path / "again", make())
    assert all((tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes() for name in FILES)


def test_half_precision_is_stored_and_float32_read(tmp_path: Path):
    half = {name: tensor.half() for name, tensor in make().encoder.items()}
    write_pretrained(tmp_path / "half", make(encoder=half))
    stored = load_file(tmp_path / "half" / "model.safetensors")["encoder.embeddings.weight"]
    assert stored.dtype == torch.float16
    assert torch.equal(read_pretrained(tmp_path / "half").encoder["embeddings.weight"], stored.float())


@pytest.mark.parametrize(
    "head",
    [{"weight": torch.ones(9, 8), "bias": torch.arange(9.0)}, GeneHead(8, 9).state_dict()],
    ids=["a linear map of its own", "a tied head"],
)
def test_a_gene_head_comes_along(tmp_path: Path, head: dict[str, torch.Tensor]):
    write_pretrained(tmp_path / "mini", make(gene_head=head))
    read = read_pretrained(tmp_path / "mini").gene_head
    assert read.keys() == head.keys() and all(torch.equal(read[name], head[name]) for name in head)


def unchecked(**changes: Any) -> None:
    """Change fields where the tests' own check of types does not look, and check them anew."""
    made = make()
    for name, value in changes.items():
        object.__setattr__(made, name, value)
    made.__post_init__()


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"foo": torch.ones(3)}, r"left over: gene_head\.foo"),
        ({"bias": torch.ones(9)}, r"missing: gene_head\.weight"),
        ({"weight": torch.ones(9, 8), "other": torch.ones(3)}, r"left over: gene_head\.other"),
        ({"from_hidden.weight": torch.ones(8, 8)}, r"missing: gene_head\.bias, gene_head\.from_context\.weight"),
    ],
    ids=["a foreign tensor", "a bias alone", "one too many", "a part of a tied head"],
)
def test_a_head_has_exactly_the_tensors_of_a_head(head: dict[str, torch.Tensor], message: str):
    with pytest.raises(ValueError, match=message):
        make(gene_head=head)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_len": 0}, "max_len must be at least 1. Got 0"),
        ({"max_len": "12"}, "max_len must be a whole number. Got '12'"),
        ({"evaluation": ["x"]}, r"evaluation must be a list of dicts. Got \['x'\]. Use \[\]"),
        ({"manifest": ["x"]}, r"manifest must be a dict. Got \['x'\]. Use {}"),
    ],
)
def test_what_could_not_be_read_again_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises((TypeError, ValueError), match=message):
        unchecked(**changes)


def test_weights_are_tensors_of_a_type_that_is_read():
    encoder = make().encoder
    for dtype in (torch.float64, torch.int32):
        name = str(dtype).removeprefix("torch.")
        with pytest.raises(ValueError, match=rf"float32, float16 or bfloat16\. .* is {name}\. Convert it with tensor"):
            make(encoder={key: tensor.to(dtype) for key, tensor in encoder.items()})
    with pytest.raises(TypeError, match=r"must be a torch\.Tensor\. .* is a ndarray\. Turn it into one with"):
        unchecked(encoder={key: tensor.numpy() for key, tensor in encoder.items()})


def test_a_head_that_is_the_table_itself_is_written(tmp_path: Path):
    encoder = make().encoder
    write_pretrained(tmp_path / "mini", make(encoder=encoder, gene_head={"weight": encoder["embeddings.weight"]}))
    assert torch.equal(read_pretrained(tmp_path / "mini").gene_head["weight"], encoder["embeddings.weight"])


def test_hashes_of_the_cells_come_along_and_must_be_whole(tmp_path: Path, folder: Path):
    assert read_pretrained(folder).cells is None
    cells = CellHashes.of(np.array([5, 3], np.uint64), np.array([1, 2], np.uint64), 77, np.array([0, 1]), ("a", "b"))
    write_pretrained(tmp_path / "with", make(cells=cells))
    assert sorted(os.listdir(tmp_path / "with")) == sorted([*FILES, "cells.safetensors"])
    read = read_pretrained(tmp_path / "with").cells
    assert read is not None
    assert (read.exact.tolist(), read.near.tolist(), read.max_len) == ([3, 5], [2, 1], 77)
    assert (read.source.tolist(), read.sources) == ([1, 0], ("a", "b"))
    write_pretrained(tmp_path / "with", make(cells=cells), overwrite=True)
    flip("cells.safetensors")(tmp_path / "with")
    with pytest.raises(ValueError, match=r"cells\.safetensors does not match the checksum in config\.json"):
        read_pretrained(tmp_path / "with")
    (tmp_path / "with" / "cells.safetensors").rename(folder / "cells.safetensors")
    with pytest.raises(FileNotFoundError, match=r"with lacks cells\.safetensors: .*Copy the whole folder"):
        read_pretrained(tmp_path / "with")
    with pytest.raises(ValueError, match=r"cells\.safetensors does not match the checksum"):  # of another checkpoint
        read_pretrained(folder)


def test_the_card_says_what_is_recorded(folder: Path):
    card = (folder / "README.md").read_text()
    assert card.startswith(
        '---\nlicense: "cc-by-4.0"\nlibrary_name: "genemamba_sc"\npipeline_tag: "feature-extraction"\n'
        'tags: ["genemamba", "mamba", "single-cell", "scrna-seq"]\n---\n\n# GeneMamba mini\n'
    )
    for line in (
        "## Licence\n\ncc-by-4.0",
        "| set | cells |\n| --- | --- |\n| pbmc3k | 2638 |\n| kang\\|ctrl | 12261 |",
        "| set | kNN accuracy | n |\n| --- | --- | --- |\n| pbmc3k | 0.9123 |  |\n| zheng |  | 3 |",
        "## Limits\n\n- Blood only.\n- Human only.",
        "| command | genemamba pretrain |",
        "| genes | 5 (human) |",
    ):
        assert line in card
    assert "hashes" not in card


def test_a_card_without_a_manifest_says_what_is_not_known(tmp_path: Path):
    write_pretrained(tmp_path / "mini", make(manifest={}, evaluation=[]))
    card = (tmp_path / "mini" / "README.md").read_text()
    assert 'license: "unknown"' in card and "None was stated: ask whoever published" in card
    assert "No evaluation was recorded." in card and "## Training data\n\nNot stated." in card


# --------------------------------------------------------------------- refusals


def edit(**entries: Any) -> Fault:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text()) | entries
        # With the checksum of an honest writer: what is wrong must be found, not only that something was edited.
        (folder / "config.json").write_text(json.dumps(sealed({k: v for k, v in config.items() if v is not None})))

    return change


def flip(name: str) -> Fault:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[-1] ^= 1
        (folder / name).write_bytes(data)

    return change


def cut_config(folder: Path) -> None:
    (folder / "config.json").write_text((folder / "config.json").read_text()[:40])


def rewrite(change: Callable[[dict[str, torch.Tensor]], object]) -> Fault:
    """Change the weights and their checksum."""

    def fault(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")
        sums = json.loads((folder / "config.json").read_text())["sha256"]
        edit(sha256=sums | {"model.safetensors": sha256_of(folder / "model.safetensors")})(folder)

    return fault


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (flip("model.safetensors"), ValueError, r"model\.safetensors does not match the checksum in config\.json"),
        (flip("manifest.json"), ValueError, r"manifest\.json does not match the checksum.*Copy the whole folder again"),
        (flip("vocabulary.tsv.gz"), ValueError, r"vocabulary\.tsv\.gz does not match the checksum"),
        (cut_config, ValueError, r"config\.json is not readable JSON .*truncated or damaged\. Copy it again"),
        (edit(format_version=99), ValueError, r"format version 99; this package reads up to 2\. Upgrade"),
        (edit(max_len=None), ValueError, r"lacks max_len: it was edited or damaged\. Copy it again"),
        (lambda f: (f / "evaluation.json").unlink(), FileNotFoundError, r"lacks evaluation\.json: .*Copy the whole"),
        (lambda f: (f / "config.json").unlink(), FileNotFoundError, r"needs config\.json.*has none\. Give the folder"),
        (rewrite(lambda t: t.pop("encoder.layers.1.mixer.D")), ValueError, r"missing: layers\.1\.mixer\.D\. Keep"),
        (rewrite(lambda t: t.update({"encoder.more": torch.ones(1)})), ValueError, r"left over: more\. Keep config"),
        (rewrite(lambda t: t.update({"head.more": torch.ones(1)})), ValueError, r"named encoder.*\['head\.more'\]"),
        (
            rewrite(lambda t: t.update({"encoder.norm_f.weight": torch.ones(3)})), ValueError,
            r"of another shape: norm_f\.weight is \(3,\), must be \(8,\)\. Keep config\.json and the weights",
        ),
        (
            rewrite(lambda t: t.update({"gene_head.weight": torch.ones(3, 8)})), ValueError,
            r"gene_head\.weight is \(3, 8\), must be \(9, 8\)",
        ),
    ],
    ids=["weights", "manifest", "vocabulary", "half a config", "newer", "no max_len", "no evaluation", "no config",
         "a tensor missing", "a tensor left over", "a part of its own", "a shape", "a head's shape"],
)  # fmt: skip
def test_a_damaged_folder_is_refused(folder: Path, fault: Fault, error: type[Exception], message: str):
    fault(folder)
    with pytest.raises(error, match=message):
        read_pretrained(folder)


def test_genes_and_table_belong_together():
    with pytest.raises(ValueError, match=r"one row per token; it has 10, the vocabulary 9 tokens\. Keep weights and"):
        make(encoder_config=EncoderConfig(vocab_size=10, d_model=8, n_layer=2, headdim=4))


def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path):
    with pytest.raises(TypeError, match=r"hold text, numbers, lists and dicts\. Got a set: \{1\}\. Turn it into"):
        write_pretrained(tmp_path / "mini", make(manifest={"cells": {1}}))
    assert os.listdir(tmp_path) == []


def test_only_such_a_folder_is_replaced_and_only_on_request(folder: Path, tmp_path: Path):
    with pytest.raises(FileExistsError, match=r"exists already\. Choose another folder, or pass overwrite=True"):
        write_pretrained(folder, make(seed=1))
    write_pretrained(folder, make(seed=1), overwrite=True)
    assert torch.equal(read_pretrained(folder).encoder["norm_f.weight"], make(seed=1).encoder["norm_f.weight"])
    assert torch.equal(read_pretrained(folder).encoder["embeddings.weight"], make(seed=1).encoder["embeddings.weight"])
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"not part of pretrained weights \(thesis\.txt\), so it is not"):
        write_pretrained(folder, make(), overwrite=True)
    assert (folder / "thesis.txt").read_text() == "precious"
    (tmp_path / "file").write_text("precious")
    with pytest.raises(FileExistsError, match=r"is a file, so it is not replaced by a folder of pretrained weights"):
        write_pretrained(tmp_path / "file", make(), overwrite=True)


def test_a_full_disk_leaves_the_old_folder(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_own, "model_card", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_pretrained(folder, make(seed=1), overwrite=True)
    assert torch.equal(read_pretrained(folder).encoder["embeddings.weight"], make().encoder["embeddings.weight"])
    assert os.listdir(folder.parent) == ["mini"]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"max_len": "77"}, r"config\.json must have a whole number of at least 1 as max_len\. Got '77'"),
        ({"max_len": 0}, r"whole number of at least 1 as max_len\. Got 0"),
        ({"encoder_config": [1]}, r"config\.json has no usable encoder_config: "),
        ({"encoder_config": {"vocab_size": 9, "token_dropout": "much"}}, r"no usable encoder_config: "),
        ({"sha256": {"model.safetensors": 1}}, r"must have text as sha256\.model\.safetensors\. Got 1"),
        ({"format_version": True}, r"format version True; this package reads up to 2"),
        ({"format_version": -1}, r"format version -1; this package reads up to 2"),
    ],
)
def test_a_field_of_another_kind_is_named(folder: Path, entries: dict[str, Any], message: str):
    edit(**entries)(folder)
    with pytest.raises(ValueError, match=message):
        read_pretrained(folder)


@pytest.mark.parametrize("change", [{"context_len": 3}, {"n_bins": 15}], ids=str)
def test_an_edited_configuration_is_refused(folder: Path, change: dict[str, int]):
    config = json.loads((folder / "config.json").read_text())
    config["encoder_config"] |= change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config\.json does not match the checksum in it: it was edited or damaged"):
        read_pretrained(folder)


def test_a_folder_of_format_1_is_read_and_says_what_it_lacks(folder: Path):
    config = json.loads((folder / "config.json").read_text()) | {"format_version": 1}
    del config["config_sha256"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.warns(
        UserWarning, match=r"has no checksum for everything that changes a prediction .*save_pretrained"
    ) as told:
        assert read_pretrained(folder).max_len == 77
    assert len(told) == 1 and told[0].filename == __file__


def test_what_ships_with_the_package_is_read_in_silence(recwarn: pytest.WarningsRecorder):
    assert read_pretrained("mini").encoder_config.d_model == 64
    assert not recwarn.list


def test_weights_that_are_not_finite_are_never_written(tmp_path: Path):
    encoder = make().encoder
    encoder["norm_f.weight"] = torch.full((8,), float("nan"))
    with pytest.raises(ValueError, match=r"NaN or infinite ones in encoder\.norm_f\.weight\. Train again"):
        write_pretrained(tmp_path / "mini", make(encoder=encoder))
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------------ names


def test_a_shipped_checkpoint_is_known_by_its_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_locate, "_SHIPPED", folder.parent)
    monkeypatch.chdir(tmp_path.parent)
    read = read_pretrained("mini")
    assert read.origin.startswith("mini of genemamba_sc ")
    with pytest.raises(FileNotFoundError, match=r"ships with the package \(mini\), or owner/name .* Got 'maxi', which"):
        read_pretrained("maxi")
    # A folder of that name is nearer.
    (tmp_path / "work").mkdir()
    write_pretrained(tmp_path / "work" / "mini", make(max_len=5))
    monkeypatch.chdir(tmp_path / "work")
    assert read_pretrained("mini").max_len == 5


@pytest.mark.parametrize("name", ["", "a/b/c", "../mini", "no such"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((FileNotFoundError, ValueError), match=r"which is none of these\. Check how|needs config\.json"):
        read_pretrained(name)


def test_arguments_that_do_not_apply_are_refused(folder: Path):
    with pytest.raises(ValueError, match=r"revision= names a commit .*is here already\. Leave revision= out"):
        read_pretrained(folder, revision=COMMIT)
    with pytest.raises(ValueError, match=r"combine= and medians= are for published weights; mini has its own\. Leave"):
        read_pretrained(folder, combine="mean")
    with pytest.raises(FileNotFoundError, match=r"mini has no folder 'large'\. Check the names of its folders"):
        read_pretrained(folder, subfolder="large")
    for outside in ("../mini", "a/../../b", "/etc", "..\\mini", "C:\\weights"):
        with pytest.raises(
            ValueError, match=r"subfolder= names a folder inside the checkpoint\. Got .*leads out of it"
        ):
            read_pretrained(folder, subfolder=outside)
    with pytest.raises(
        NotADirectoryError, match=r"A checkpoint is a folder; .* is a file\. Give the folder it lies in"
    ):
        read_pretrained(folder / "config.json")


# -------------------------------------------------------------------------- hub


class Library(ModuleType):
    """Stands in for huggingface_hub: one repository, one commit."""

    def __init__(self, folder: Path) -> None:
        super().__init__("huggingface_hub")
        self.folder = folder
        self.asked: list[tuple[str, str, list[str]]] = []

    def snapshot_download(self, repo_id: str, *, revision: str, allow_patterns: list[str]) -> str:
        self.asked.append((repo_id, revision, allow_patterns))
        if repo_id != "lab/mini":
            raise FileNotFoundError("Repository Not Found for url\nand more lines")
        return str(self.folder)


@pytest.fixture
def library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    stand_in = Library(folder)
    monkeypatch.setitem(sys.modules, "huggingface_hub", stand_in)
    return stand_in


def test_the_hub_is_asked_for_one_commit_and_for_data_only(library: Library):
    read = read_pretrained("lab/mini", revision=COMMIT)
    assert read.origin == f"lab/mini@{COMMIT}" and read.max_len == 77
    repo_id, revision, patterns = library.asked[0]
    assert (repo_id, revision) == ("lab/mini", COMMIT)
    assert all(name.endswith((".json", ".safetensors", ".tsv", ".tsv.gz", ".md")) for name in patterns)
    # Other sizes lie in folders of the same repository.
    assert not any(name.startswith("*") for name in patterns)


def test_a_folder_of_a_repository(library: Library, folder: Path):
    shutil.copytree(folder, folder / "48l-768d")
    assert read_pretrained("lab/mini", revision=COMMIT, subfolder="48l-768d").origin == f"lab/mini@{COMMIT}/48l-768d"
    patterns = library.asked[0][2]
    assert {"48l-768d/model.safetensors", "tokenizer.json"} <= set(patterns) and "model.safetensors" not in patterns


@pytest.mark.parametrize("revision", [None, "main", "v1.0", COMMIT[:12]])
def test_a_repository_is_named_by_its_commit(library: Library, revision: str | None):
    with pytest.raises(ValueError, match=r"named by its commit\. Got 'lab/mini' with revision=.*lab/mini/commits/main"):
        read_pretrained("lab/mini", revision=revision)
    assert library.asked == []


def test_a_repository_that_cannot_be_read_is_named_with_the_reason(library: Library):
    message = (
        r"other/one at 0123456789ab could not be read .*\(Repository Not Found for url\).*Without a network, fetch"
    )
    with pytest.raises(OSError, match=message):
        read_pretrained("other/one", revision=COMMIT)


def test_without_the_library_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        ImportError, match=r"not installed\. Install it with pip install 'genemamba-sc\[hub\]', or give"
    ):
        read_pretrained("lab/mini", revision=COMMIT)


def test_the_real_library_says_so_when_it_is_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("huggingface_hub")
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OSError, match=r"could not be read from the Hugging Face Hub .*Without a network, fetch the"):
        read_pretrained("lab/mini", revision=COMMIT)


def test_weights_say_what_they_are_and_print_no_tensor():
    weights = read_pretrained("mini")
    assert repr(weights).splitlines() == [
        "Pretrained",
        f"  read from       {weights.origin}",
        "  genes           13,266 (human), of which a cell is read up to 2,048",
        "  encoder         1 layer(s), width 64",
        "  head for genes  no",
        "  trained on      42,084 cells",
    ]
    assert "<td>13,266 (human), of which" in weights._repr_html_()
