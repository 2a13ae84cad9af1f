"""Saved models: the same numbers in a new process, and clear refusals of what is no whole model."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from safetensors.numpy import load_file, save_file
from scvi.model import SCVI

from genemamba_sc import GeneAliases, GeneMambaModel, checkpoint_report, read_pretrained
from genemamba_sc._digests import sha256_of
from genemamba_sc.data.tokens._cell_hashes import CellHashes
from genemamba_sc.model.storage import _persistence
from genemamba_sc.weights import _saved_model
from genemamba_sc.weights._folder import sealed

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]
Fault = Callable[[Path], None]

FILES = ["config.json", "genes.tsv", "model.safetensors"]

_NEW_PROCESS = """
import sys
import anndata, numpy as np
from genemamba_sc import GeneAliases, GeneMambaModel
folder, query = sys.argv[1:]
cells = anndata.read_h5ad(query)
alone = GeneMambaModel.load(folder, adata=False, accelerator="cpu")
attached = GeneMambaModel.load(folder, adata=cells, accelerator="cpu")
np.savez(
    folder + ".npz",
    alone=alone.get_latent_representation(cells, key_added=None),
    attached=attached.get_latent_representation(),
    soft=alone.predict_celltype(cells, soft=True).to_numpy(),
    types=np.array(alone.cell_types),
    attached_types=np.array(attached.cell_types),
    history=alone.history["train_loss"].to_numpy(dtype=float),
)
"""


@pytest.fixture(scope="module")
def saved(trained: GeneMambaModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    trained.save(folder)
    return folder


@pytest.fixture(scope="module")
def other(make_cells: Cells, fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of other genes."""
    folder = tmp_path_factory.mktemp("models") / "other"
    fit(make_cells(n_vars=30), setup={}, max_epochs=0).save(folder)
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def load(folder: Path, adata: Any = False) -> GeneMambaModel:
    return GeneMambaModel.load(folder, adata=adata, accelerator="cpu")


def latent(model: GeneMambaModel, adata: AnnData) -> np.ndarray:
    return model.get_latent_representation(adata, key_added=None)


def test_a_model_folder_holds_three_files_and_none_is_a_pickle(saved: Path):
    assert sorted(os.listdir(saved)) == FILES
    assert json.loads((saved / "config.json").read_text())["format"] == "genemamba_sc"
    assert load_file(saved / "model.safetensors")["encoder.embeddings.weight"].shape == (44, 16)
    assert (saved / "genes.tsv").read_text().count("ENSG") == 40


def test_a_new_process_gives_the_same_numbers_and_the_same_order_of_labels(
    trained: GeneMambaModel, make_cells: Cells, saved: Path, tmp_path: Path
):
    cells = make_cells()
    order = np.array(["monocyte", "T cell", "B cell"])  # another order of categories than the registry's
    cells.obs["cell_type"] = cells.obs["cell_type"].cat.reorder_categories(order, ordered=True)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _NEW_PROCESS, str(saved), str(tmp_path / "cells.h5ad")],
        check=True, capture_output=True,
    )  # fmt: skip
    found = np.load(f"{saved}.npz")
    assert np.array_equal(found["alone"], latent(trained, make_cells()))
    assert np.array_equal(found["attached"], found["alone"])
    soft = trained.predict_celltype(make_cells(), soft=True)
    assert list(found["types"]) == list(found["attached_types"]) == list(soft.columns)
    np.testing.assert_allclose(found["soft"], soft.to_numpy(), atol=1e-6)
    assert np.array_equal(found["history"], trained.history["train_loss"].to_numpy(dtype=float))


def test_a_model_without_cells_says_what_it_needs(saved: Path):
    model = load(saved)
    assert model.adata is None and model.is_trained
    with pytest.raises(ValueError, match=r"loaded without an AnnData\. Pass the cells to read with adata="):
        model.get_latent_representation()
    with pytest.raises(ValueError, match=r"holds no AnnData to train on\. Load it with"):
        model.train(max_epochs=1)
    with pytest.raises(ValueError, match=r"save_anndata=True, but this model holds no AnnData"):
        model.save(saved.parent / "never", save_anndata=True)


def test_a_model_without_cells_is_saved_again_as_it_was(saved: Path, make_cells: Cells, tmp_path: Path):
    load(saved).save(tmp_path / "again")
    assert np.array_equal(latent(load(tmp_path / "again"), make_cells()), latent(load(saved), make_cells()))
    for name in ("genes.tsv", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()


def test_cells_with_names_of_pandas_3_are_saved(make_cells: Cells, fit: Fit, tmp_path: Path):
    adata = make_cells()
    adata.obs.index, adata.var.index = adata.obs.index.astype("string"), adata.var.index.astype("string")
    fit(adata, max_epochs=0).save(tmp_path / "model", save_anndata=True)
    kept = GeneMambaModel.load(tmp_path / "model", accelerator="cpu").adata
    assert kept.obs_names.tolist() == make_cells().obs_names.tolist()
    assert isinstance(adata.obs.index.dtype, pd.StringDtype)  # the user's cells stay as they are


def test_a_model_that_learned_spike_ins_says_that_it_answers_otherwise_now(
    saved: Path, monkeypatch: pytest.MonkeyPatch
):
    first = load(saved).vocabulary.gene_ids[0]
    monkeypatch.setattr(_persistence, "is_control", lambda name: name == first)
    told = rf"include 1 spike-ins, control probes or peaks \({first}\)\. They are left out of cells now"
    with pytest.warns(UserWarning, match=told):
        load(saved)


def test_cells_saved_with_a_model_come_back_with_it(trained: GeneMambaModel, tmp_path: Path):
    trained.save(tmp_path / "model", save_anndata=True)
    model = GeneMambaModel.load(tmp_path / "model", accelerator="cpu")
    assert np.array_equal(
        model.get_latent_representation(key_added=None), trained.get_latent_representation(key_added=None)
    )
    assert load(tmp_path / "model").adata is None


def test_saving_the_cells_of_a_backed_file_leaves_the_file_theirs(make_cells: Cells, fit: Fit, tmp_path: Path):
    make_cells().write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    model = fit(backed)
    model.save(tmp_path / "model", save_anndata=True)
    assert Path(backed.filename) == tmp_path / "cells.h5ad"
    expected = model.get_latent_representation(key_added=None)
    kept = GeneMambaModel.load(tmp_path / "model", accelerator="cpu")
    assert np.array_equal(kept.get_latent_representation(), expected)


def test_a_loaded_model_trains_on(saved: Path, make_cells: Cells):
    model = load(saved, make_cells())
    model.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    assert len(model.history["train_loss"]) == 3
    assert model.cell_types == ["B cell", "T cell", "monocyte"]


def test_cells_with_other_labels_are_read_and_not_trained_on(saved: Path, trained: GeneMambaModel, make_cells: Cells):
    cells = make_cells()
    cells.obs["cell_type"] = np.where(np.arange(60) % 2 == 0, "platelet", "T cell")
    with pytest.warns(UserWarning, match=r"obs\['cell_type'\] has values the model does not know \('platelet'; it"):
        model = load(saved, cells)
    assert np.array_equal(model.get_latent_representation(), latent(trained, make_cells()))
    assert model.cell_types == trained.cell_types
    with pytest.raises(ValueError, match=r"no labels registered\. Give it adata\.obs\['cell_type'\]"):
        model.train(max_epochs=1)


@pytest.mark.parametrize("numbers", [True, False], ids=["a model of numbers", "a model of text"])
def test_labels_that_are_the_same_only_as_text_are_left_out(
    make_cells: Cells, fit: Callable[..., GeneMambaModel], tmp_path: Path, numbers: bool
):
    cells = make_cells()
    codes = cells.obs["cell_type"].cat.codes.astype(int).to_numpy()
    cells.obs["cell_type"] = codes if numbers else codes.astype(str)
    model = fit(cells, max_epochs=0)
    model.save(tmp_path / "model")
    others = make_cells()
    others.obs["cell_type"] = codes.astype(str) if numbers else codes
    told = r"know \('1'; it knows 0, 1, 2\), so" if numbers else r"know \(1; it knows '0', '1', '2'\), so"
    with pytest.warns(UserWarning, match=told):
        loaded = load(tmp_path / "model", others)
    with pytest.warns(UserWarning, match=told):
        query = GeneMambaModel.load_query_data(others, model, accelerator="cpu")
    for asked in (loaded, query):
        assert list(asked.predict_celltype()) == list(model.predict_celltype())
    others.obs["cell_type"] = codes.astype(float) if numbers else pd.Categorical(codes.astype(str))
    loaded = load(tmp_path / "model", others)
    assert np.array_equal(others.obs["_scvi_labels"], codes)


def test_cells_of_a_single_type_are_attached_with_their_labels(saved: Path, make_cells: Cells):
    cells = make_cells()[2::3].copy()
    model = load(saved, cells)
    assert set(cells.obs["_scvi_labels"]) == {model.cell_types.index("monocyte")}
    assert set(model.predict_celltype()) == {"monocyte"}


def test_cells_without_the_columns_are_read(saved: Path, trained: GeneMambaModel, make_cells: Cells):
    cells = make_cells()
    del cells.obs["cell_type"], cells.obs["batch"]
    with pytest.warns(UserWarning) as warned:
        model = load(saved, cells)
    told = [str(warning.message) for warning in warned]
    for column, argument in (("batch", "batch_key"), ("cell_type", "labels_key")):
        assert any(f"obs[{column!r}] is missing, so it is not registered as {argument}" in text for text in told)
    encoded = {"key_added": None, "integrated": False}
    assert np.array_equal(
        model.get_latent_representation(**encoded), trained.get_latent_representation(make_cells(), **encoded)
    )
    with pytest.warns(UserWarning, match="The cells have no column 'batch' with their batches, so they are mapped"):
        assert np.array_equal(model.get_latent_representation(), latent(trained, cells))


def test_every_kind_of_label_and_choice_comes_back(make_cells: Cells, fit: Fit, tmp_path: Path):
    cells = make_cells()
    cells.obs["code"] = np.array(["10", "9", "none"])[np.arange(60) % 3]
    model = fit(
        cells,
        setup={"labels_key": "code", "unlabeled_category": "none", "gene_id_key": "symbol"},
        model={"n_layer": 0, "max_len": 30, "gene_init": "random"},
    )
    model.save(tmp_path / "model")
    again = load(tmp_path / "model", cells)
    assert again.cell_types == model.cell_types == ["10", "9"]
    assert again.module.encoder_config == model.module.encoder_config
    assert (again.max_len_, again.gene_init_) == (30, "random")
    assert again.vocabulary == model.vocabulary and again.vocabulary.gene_ids[0] == "GENE0"
    assert np.array_equal(again.predict_celltype(), model.predict_celltype())
    assert np.array_equal(again.validation_indices, model.validation_indices)


# --------------------------------------------------------------- damaged folders


def truncate(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.truncate(1000)


def flip(folder: Path) -> None:
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)


def change_config(**entries: Any) -> Fault:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text()) | entries
        for name in [name for name, value in entries.items() if value is None]:
            del config[name]
        # With the checksum of an honest writer: what is wrong must be found, not only that something was edited.
        (folder / "config.json").write_text(json.dumps(sealed(config)))

    return change


def repair_checksum(folder: Path, name: str = "model.safetensors") -> None:
    sums = json.loads((folder / "config.json").read_text())["sha256"]
    change_config(sha256=sums | {name: sha256_of(folder / name)})(folder)


def cut_config(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text[: len(text) // 2])


def lose(name: str) -> Fault:
    return lambda folder: (folder / name).unlink()


def other_weights_with_their_checksum(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.embeddings.weight"] = tensors["encoder.embeddings.weight"][:-1]
    save_file(tensors, folder / "model.safetensors")
    repair_checksum(folder)


def no_tensors_with_their_checksum(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not safetensors at all")
    repair_checksum(folder)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (truncate, ValueError, r"does not match the checksum in config\.json: it is truncated, damaged or from"),
        (flip, ValueError, r"does not match the checksum.*Copy the whole folder again"),
        (no_tensors_with_their_checksum, ValueError, r"is not a readable safetensors file.*damaged\. Copy it again"),
        (other_weights_with_their_checksum, ValueError, r"44 x 16 by config\.json\. Got 43 x 16 in .*Keep the"),
        (cut_config, ValueError, r"config\.json is not readable JSON .* truncated or damaged\. Copy it again"),
        (change_config(format="another"), ValueError, r"does not describe a genemamba_sc model\. Give the folder"),
        (change_config(format_version=99), ValueError, r"format version 99; this package reads up to 5\. Upgrade"),
        (change_config(format_version="3"), ValueError, r"format version '3'; this package reads up to 5\. Upgrade"),
        (change_config(sha256=None), ValueError, r"lacks sha256: it was edited or damaged\. Copy"),
        (change_config(registry=None, init=None), ValueError, r"lacks init, registry: it was edited or damaged"),
        (change_config(**{"class": "Another"}), ValueError, r"holds a 'Another', not a GeneMambaModel\. Load it with"),
        *[(lose(name), FileNotFoundError, rf"lacks {name}: a model folder holds .*Give the folder") for name in FILES],
    ],
    ids=["truncated weights", "one bit of the weights", "weights that are none", "weights of another shape",
         "half a configuration", "another format", "a newer format", "a version that is text", "no checksum",
         "no registry", "another class", *[f"without {name}" for name in FILES]],
)  # fmt: skip
def test_a_damaged_folder_is_refused(copied: Path, fault: Fault, error: type[Exception], message: str):
    fault(copied)
    with pytest.raises(error, match=message):
        load(copied)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.safetensors", r"does not match the checksum"),
        ("genes.tsv", r"genes\.tsv does not match the checksum"),
        ("config.json", r"does not match the checksum"),
    ],
)
def test_files_of_two_models_are_not_mixed(copied: Path, other: Path, name: str, message: str):
    shutil.copy(other / name, copied / name)
    with pytest.raises(ValueError, match=message):
        load(copied)


@pytest.mark.parametrize("place", ["absent", "model/config.json"], ids=["nothing there", "a file"])
def test_a_folder_is_needed(copied: Path, place: str):
    with pytest.raises(FileNotFoundError, match=r"is not a folder\. Give the folder that save\(\) wrote"):
        load(copied.parent / place)


def test_a_folder_of_scvi_tools_is_refused(make_cells: Cells, tmp_path: Path):
    cells = make_cells()
    SCVI.setup_anndata(cells)
    SCVI(cells, n_hidden=4).save(tmp_path / "scvi")
    with pytest.raises(FileNotFoundError, match=r"lacks config\.json, model\.safetensors, genes\.tsv"):
        load(tmp_path / "scvi")


def test_cells_are_an_anndata(saved: Path):
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(TypeError, match=r"adata must be an AnnData, None or False\. Got str\. Read an h5ad"):
            load(saved, "cells.h5ad")
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_cells_of_unknown_genes_are_not_attached(saved: Path, make_cells: Cells):
    cells = make_cells()
    cells.var_names = [f"FOO{i}" for i in range(40)]
    with pytest.raises(ValueError, match=r"0 of 40 names in var_names are"):
        load(saved, cells)


def edit_config(change: Callable[[dict[str, Any]], object]) -> Fault:
    """Edit a configuration as a hand does, and leave the checksum as it was."""

    def fault(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return fault


def swap_labels(config: dict[str, Any]) -> None:
    names = config["registry"]["field_registries"]["labels"]["state_registry"]["categorical_mapping"]["__array__"]
    names[0], names[1] = names[1], names[0]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (edit_config(swap_labels), r"config\.json does not match the checksum in it: it was edited or damaged"),
        (edit_config(lambda c: c["init"]["encoder_config"].update(context_len=3)), r"not match the checksum in it"),
        (edit_config(lambda c: c["attributes"].update(is_trained_=False)), r"not match the checksum in it"),
        (lambda f: (f / "genes.tsv").write_text((f / "genes.tsv").read_text() + "\n"), r"genes\.tsv does not match"),
        (lambda f: (f / "gene_aliases.json").write_text("{}"), r"gene_aliases\.json does not match the checksum"),
    ],
    ids=["labels swapped", "another context_len", "an attribute", "the genes", "aliases that nobody saved"],
)
def test_whatever_changes_a_prediction_is_under_a_checksum(copied: Path, fault: Fault, message: str):
    fault(copied)
    with pytest.raises(ValueError, match=message):
        load(copied)


def not_finite(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["cell_type_head.markers"][3, 0] = np.nan
    save_file(tensors, folder / "model.safetensors")
    repair_checksum(folder)


def doubles(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({name: array.astype(np.float64) for name, array in tensors.items()}, folder / "model.safetensors")
    repair_checksum(folder)


def deep(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    change_config(init=config["init"] | {"encoder_config": config["init"]["encoder_config"] | {"n_layer": 10**9}})(
        folder
    )


def with_attribute(**entries: Any) -> Fault:
    def fault(folder: Path) -> None:
        attributes = json.loads((folder / "config.json").read_text())["attributes"]
        change_config(attributes=attributes | entries)(folder)

    return fault


def with_init(**entries: Any) -> Fault:
    def fault(folder: Path) -> None:
        change_config(init=json.loads((folder / "config.json").read_text())["init"] | entries)(folder)

    return fault


def with_registry(change: Callable[[dict[str, Any]], object]) -> Fault:
    def fault(folder: Path) -> None:
        registry = json.loads((folder / "config.json").read_text())["registry"]
        change(registry)
        change_config(registry=registry)(folder)

    return fault


def half_a_field(registry: dict[str, Any]) -> None:
    del registry["field_registries"]["labels"]["summary_stats"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (not_finite, r"NaN or infinite ones in cell_type_head\.markers\. Copy it again"),
        (doubles, r"stored as F32; in .*is F64"),
        (deep, r"for 1000000000 layers .* has 1\. Tensors are missing"),
        (with_attribute(save="text"), r"may have .*is_trained_.* in attributes\. Got \['save'\]"),
        (with_attribute(is_trained_="yes"), r"must have true or false as attributes\.is_trained_\. Got 'yes'"),
        (with_attribute(history_=[1]), r"has no usable attributes\.history_: "),
        (with_attribute(train_indices_={"a": 1}), r"has no usable attributes\.train_indices_: "),
        (with_init(max_len="many"), r"must have a whole number of at least 1 as init\.max_len\. Got 'many'"),
        (with_init(gene_init="some"), r"config\.json has no usable init\.gene_init: it is one of .* not 'some'"),
        (with_init(gene_init=[1]), r"config\.json has no usable init\.gene_init: "),
        (with_init(device="cuda"), r"may have .*max_len.* in init\. Got \['device'\]"),
        (change_config(versions=3), r"must hold a JSON object in versions\. Got 3"),
        (change_config(registry=[]), r"must hold a JSON object in registry\. Got \[\]"),
        (change_config(registry={"setup_args": {}}), r"lacks registry\.field_registries"),
        (with_registry(half_a_field), r"config\.json has no usable registry: .*summary_stats"),
        (change_config(trained_on={"names": 3}), r"must have text as trained_on\.names\. Got 3"),
        (
            change_config(trained_on={"names": "a", "learned": {"names": "a", "rows": "b"}}),
            r"has no usable trained_on\.learned\.rows: row numbers are whole",
        ),
    ],
    ids=["not finite", "doubles", "a billion layers", "a method overwritten", "an attribute of another kind",
         "no history", "no indices", "init", "no start", "starts", "an argument of nobody", "versions", "registry",
         "half a registry", "half a field", "no digest of names", "no rows learned from"],
)  # fmt: skip
def test_what_does_not_belong_is_named_with_file_and_field(copied: Path, fault: Fault, message: str):
    fault(copied)
    with pytest.raises(ValueError, match=message):
        load(copied)


def test_weights_that_are_not_finite_are_neither_saved_nor_asked(
    trained: GeneMambaModel, copied: Path, make_cells: Cells
):
    model = load(copied)
    with torch.no_grad():
        model.module.cell_type_head.marker_bias[0] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinite ones in cell_type_head\.marker_bias\. Train again"):
        model.save(copied, overwrite=True)
    with pytest.raises(ValueError, match=r"60 of 60 cells have none: the weights are damaged"):
        model.predict_celltype(make_cells())
    assert np.array_equal(latent(load(copied), make_cells()), latent(trained, make_cells()))


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_a_model_whose_save_was_killed_between_its_two_renames_loads(copied: Path, make_cells: Cells):
    before = latent(load(copied), make_cells())
    code = (
        "import os, signal, sys\n"
        "from genemamba_sc import GeneMambaModel\n"
        "model = GeneMambaModel.load(sys.argv[1], adata=False, accelerator='cpu')\n"
        "rename = os.replace\n"
        "def replace(source, target):\n"
        "    if str(target) == sys.argv[1]:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    rename(source, target)\n"
        "os.replace = replace\n"
        "model.save(sys.argv[1], overwrite=True)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(copied)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL and not copied.exists()
    assert np.array_equal(latent(load(copied), make_cells()), before)
    assert os.listdir(copied.parent) == ["model"]


# ------------------------------------------------------------------ where to save


def test_an_existing_folder_is_replaced_only_on_request(
    trained: GeneMambaModel, copied: Path, other: Path, make_cells: Cells
):
    before = (copied / "config.json").read_bytes()
    with pytest.raises(FileExistsError, match=r"exists already\. Choose another folder, or pass overwrite=True"):
        load(other).save(copied)
    assert (copied / "config.json").read_bytes() == before
    load(other).save(copied, overwrite=True)
    assert load(copied).vocabulary.n_genes == 30
    assert os.listdir(copied.parent) == ["model"]


def another_library(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "model.safetensors").write_bytes(b"weights of somebody")


def with_notes(folder: Path) -> None:
    (folder / "notes.txt").write_text("my thesis")


@pytest.mark.parametrize("fill", [another_library, with_notes], ids=["another library's model", "somebody's notes"])
def test_a_folder_that_is_no_model_is_never_replaced(trained: GeneMambaModel, tmp_path: Path, fill: Fault):
    folder = tmp_path / "precious"
    folder.mkdir()
    fill(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FileExistsError, match=r"so it is not replaced.*Choose another folder"):
        trained.save(folder, overwrite=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert os.listdir(tmp_path) == ["precious"]


def test_notes_beside_a_model_keep_it_from_being_replaced(trained: GeneMambaModel, copied: Path):
    with_notes(copied)
    with pytest.raises(FileExistsError, match=r"not part of a genemamba_sc model \(notes\.txt\), so it is"):
        trained.save(copied, overwrite=True)
    assert (copied / "notes.txt").read_text() == "my thesis"


def test_a_file_is_not_replaced_by_a_folder(trained: GeneMambaModel, tmp_path: Path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(FileExistsError, match=r"is a file, so it is not replaced by a folder of a genemamba_sc model"):
        trained.save(tmp_path / "file", overwrite=True)
    assert (tmp_path / "file").read_text() == "precious"


def test_an_empty_folder_is_filled(trained: GeneMambaModel, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    trained.save(tmp_path / "empty", overwrite=True)
    assert sorted(os.listdir(tmp_path / "empty")) == FILES


def test_a_read_only_parent_is_refused(trained: GeneMambaModel, read_only_folder: Path):
    with pytest.raises(PermissionError, match=r"cannot be written to\. Choose another place"):
        trained.save(read_only_folder / "model")
    assert os.listdir(read_only_folder) == []


def test_a_full_disk_leaves_the_old_model(
    trained: GeneMambaModel, copied: Path, make_cells: Cells, monkeypatch: pytest.MonkeyPatch
):
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    expected = latent(load(copied), make_cells())
    monkeypatch.setattr(_saved_model, "write_h5ad", full)
    with pytest.raises(OSError, match="No space left on device"):
        trained.save(copied, overwrite=True, save_anndata=True)
    assert np.array_equal(latent(load(copied), make_cells()), expected)
    assert os.listdir(copied.parent) == ["model"]
    assert _saved_model.write_h5ad is full


_FULL = """
import resource, sys
from genemamba_sc import GeneMambaModel
from genemamba_sc.model.storage import _persistence
model = GeneMambaModel.load(sys.argv[1], adata=False, accelerator="cpu")
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
model.save(sys.argv[1], overwrite=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are those of POSIX")
def test_weights_that_outgrow_their_disk_are_an_error_that_names_the_model(copied: Path, make_cells: Cells):
    expected = latent(load(copied), make_cells())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FULL, str(copied)], capture_output=True, text=True, check=False
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"OSError: [Errno 27] File too large: {copied} could not be written; what stood there stays")
    assert np.array_equal(latent(load(copied), make_cells()), expected)
    assert os.listdir(copied.parent) == ["model"]


def test_hashes_of_pretraining_cells_stay_with_the_model_and_must_be_whole(trained: GeneMambaModel, tmp_path: Path):
    model = GeneMambaModel.load(saved_copy(trained, tmp_path / "base"), adata=False, accelerator="cpu")
    assert model.pretrained_cells_ is None
    model.pretrained_cells_ = CellHashes.of(np.array([5, 3], np.uint64), np.array([1, 2], np.uint64), 77)
    folder = saved_copy(model, tmp_path / "model")
    assert sorted(os.listdir(folder)) == sorted([*FILES, "cells.safetensors"])
    cells = load(folder).pretrained_cells_
    assert cells is not None and (cells.exact.tolist(), cells.near.tolist(), cells.max_len) == ([3, 5], [2, 1], 77)
    model.save(folder, overwrite=True)
    path = folder / "cells.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"cells\.safetensors does not match the checksum"):
        load(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks cells\.safetensors: its config\.json says"):
        load(folder)


def saved_copy(model: GeneMambaModel, folder: Path) -> Path:
    model.save(folder)
    return folder


def test_a_saved_model_knows_the_older_names_of_its_genes(trained: GeneMambaModel, make_cells: Cells, tmp_path: Path):
    table = pd.DataFrame({"symbol": [f"GENE{i}" for i in range(40)], "ensembl_gene_id": make_cells().var_names})
    table["alias_symbol"], table["prev_symbol"] = "", [f"OLD{i}|OLDER{i}" for i in range(40)]
    table.to_csv(tmp_path / "hgnc.tsv", sep="\t", index=False)
    model = load(saved_copy(trained, tmp_path / "base"))
    model.gene_aliases = GeneAliases.from_tsv(tmp_path / "hgnc.tsv")
    query = make_cells()
    query.var_names = [f"OLD{i}" if i % 2 else f"OLDER{i}" for i in range(40)]
    expected = latent(model, query)
    folder = saved_copy(model, tmp_path / "model")
    assert sorted(os.listdir(folder)) == sorted([*FILES, "gene_aliases.json"])
    again = load(folder)
    assert np.array_equal(latent(again, query), expected)
    assert again.gene_aliases.records == model.gene_aliases.records
    assert again.gene_aliases.by_ensembl == model.gene_aliases.by_ensembl
    # Under the checksum, and each entry looked at.
    path = folder / "gene_aliases.json"
    path.write_text(path.read_text().replace("OLD1", "OLD0"))
    with pytest.raises(ValueError, match=r"gene_aliases\.json does not match the checksum"):
        load(folder)
    path.write_text('{"names": {"A": ["B"]}, "by_ensembl": {}, "ambiguous": []}')
    repair_checksum(folder, "gene_aliases.json")
    with pytest.raises(ValueError, match=r"gene_aliases\.json must give symbol, Ensembl id and kind .*Got \['B'\]"):
        load(folder)
    load(saved_copy(trained, tmp_path / "other")).save(folder, overwrite=True)
    assert sorted(os.listdir(folder)) == FILES


# ------------------------------------------------------- a prefix, as in scvi-tools


def test_models_share_a_folder_by_their_prefixes(
    trained: GeneMambaModel, other: Path, make_cells: Cells, tmp_path: Path
):
    folder = tmp_path / "models"
    trained.save(folder, prefix="a_", save_anndata=True)
    load(other).save(folder, prefix="b_")
    (folder / "notes.txt").write_text("mine")
    names = [f"{prefix}{name}" for prefix in ("a_", "b_") for name in FILES]
    assert sorted(os.listdir(folder)) == sorted([*names, "a_adata.h5ad", "notes.txt"])
    one = GeneMambaModel.load(folder, prefix="a_", accelerator="cpu")
    assert np.array_equal(one.get_latent_representation(), latent(trained, make_cells()))
    assert GeneMambaModel.load(folder, adata=False, prefix="b_", accelerator="cpu").vocabulary.n_genes == 30
    with pytest.raises(FileExistsError, match=r"has a model of the prefix 'a_' already\. Choose another prefix, or"):
        trained.save(folder, prefix="a_")
    load(other).save(folder, prefix="a_", overwrite=True)
    assert GeneMambaModel.load(folder, adata=False, prefix="a_", accelerator="cpu").vocabulary.n_genes == 30
    assert sorted(os.listdir(folder)) == sorted([*names, "notes.txt"])
    with pytest.raises(FileNotFoundError, match=r"lacks config\.json, model\.safetensors, genes\.tsv"):
        load(folder)
    with pytest.raises(FileExistsError, match=r"not part of a genemamba_sc model .*so it is not replaced"):
        trained.save(folder, overwrite=True)
    (folder / "b_genes.tsv").write_bytes((folder / "b_genes.tsv").read_bytes() + b"\n")
    with pytest.raises(ValueError, match=r"b_genes\.tsv does not match the checksum"):
        GeneMambaModel.load(folder, adata=False, prefix="b_")


@pytest.mark.parametrize("prefix", ["../a_", "a/b", "a\\b"])
def test_a_prefix_is_no_path(trained: GeneMambaModel, tmp_path: Path, prefix: str):
    with pytest.raises(ValueError, match=r"A prefix is the beginning of a file name\. Got .*Leave out slashes"):
        trained.save(tmp_path / "model", prefix=prefix)
    assert os.listdir(tmp_path) == []


def test_a_saved_model_is_no_pretrained_weights(saved: Path):
    for read in (read_pretrained, checkpoint_report):
        with pytest.raises(ValueError, match=r"is a saved GeneMambaModel\. Load it with GeneMambaModel\.load"):
            read(saved)
