"""Models from pretrained weights: they embed at once, fine-tune, save, load, and become pretrained weights again."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from genemamba_sc import (
    GeneMambaModel,
    GeneVocabulary,
    Pretrained,
    check_contamination,
    read_pretrained,
    write_pretrained,
)
from genemamba_sc.model.storage._persistence import load_model
from genemamba_sc.model.storage._pretrained_genes import registry_of

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]
Publish = Callable[..., Path]
QUIET = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture(scope="module")
def base(make_cells: Cells, fit: Fit) -> GeneMambaModel:
    """A model trained without labels on other cells; its vocabulary has medians of its own."""
    return fit(make_cells(n_obs=90, seed=7), setup={}, model={"max_len": 30})


@pytest.fixture(scope="module")
def checkpoint(base: GeneMambaModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "mini"
    base.save_pretrained(folder, manifest={"license": "cc-by-4.0"}, evaluation=[{"set": "a", "accuracy": 0.5}])
    return folder


def start(checkpoint: Path, adata: AnnData | None = None, **arguments: Any) -> GeneMambaModel:
    return GeneMambaModel.from_pretrained(checkpoint, adata, accelerator="cpu", **arguments)


def registered(cells: AnnData, **arguments: Any) -> AnnData:
    GeneMambaModel.setup_anndata(cells, **{"labels_key": "cell_type", **arguments})
    return cells


def latent(model: GeneMambaModel, cells: AnnData | None = None) -> np.ndarray:
    return model.get_latent_representation(cells, key_added=None)


def assert_close(one: np.ndarray, other: np.ndarray) -> None:
    """Equal but for the last digits of a float32: memory decides in which order a sum is taken."""
    np.testing.assert_allclose(one, other, atol=1e-5)


def assert_same_genes(model: GeneMambaModel, other: GeneMambaModel) -> None:
    """Equal gene tables, but for the last digit: the moving average of equal numbers rounds."""
    pd.testing.assert_frame_equal(model.get_gene_embeddings(), other.get_gene_embeddings(), rtol=1e-5)


# ------------------------------------------------------------------ without cells


def test_a_model_without_cells_embeds_any_cells_as_the_one_it_comes_from(
    base: GeneMambaModel, checkpoint: Path, make_cells: Cells
):
    model, cells = start(checkpoint), make_cells()
    query = cells[:, ::-1].copy()  # another order of genes
    assert_close(latent(model, cells), latent(base, make_cells()))
    assert_close(model.get_latent_representation(query), latent(base, make_cells()))
    assert query.obsm["X_genemamba"].shape == (60, 16)
    assert model.is_trained and model.adata is None and model.cell_types == [] and model.max_len_ == 30
    assert model.vocabulary == base.vocabulary
    assert np.array_equal(model.get_gene_embeddings(), base.get_gene_embeddings())


def test_a_model_without_cells_says_what_it_cannot_do(checkpoint: Path, make_cells: Cells):
    model = start(checkpoint)
    with pytest.raises(ValueError, match=r"set up without labels and knows no cell types\. Pass labels_key="):
        model.predict_celltype(make_cells())
    with pytest.raises(ValueError, match=r"holds no AnnData to train on"):
        model.train(max_epochs=1)
    with pytest.raises(ValueError, match=r"loaded without an AnnData\. Pass the cells to read with adata="):
        model.get_latent_representation()


def test_a_model_without_cells_is_saved_and_attached_to_cells_later(
    checkpoint: Path, make_cells: Cells, tmp_path: Path
):
    model = start(checkpoint)
    model.save(tmp_path / "model")
    alone = GeneMambaModel.load(tmp_path / "model", adata=False, accelerator="cpu")
    assert_close(latent(alone, make_cells()), latent(model, make_cells()))
    assert alone.pretrained_ == model.pretrained_ and alone.pretrained_["origin"] == "mini"
    attached = GeneMambaModel.load(tmp_path / "model", adata=make_cells(), accelerator="cpu")
    attached.train(**QUIET)
    assert len(attached.history["train_loss"]) == 1
    assert_same_genes(attached, model)


# --------------------------------------------------------------------- with cells


def test_the_promised_path(base: GeneMambaModel, checkpoint: Path, make_cells: Cells):
    cells = registered(make_cells(), batch_key="batch")
    own = GeneMambaModel(cells, d_model=16)
    assert own.vocabulary != base.vocabulary
    model = start(checkpoint, cells)
    # The genes are read by the checkpoint's vocabulary, everything else as registered.
    assert model.vocabulary == base.vocabulary and model.adata is cells
    assert model.cell_types == own.cell_types == ["B cell", "T cell", "monocyte"]
    assert model.registry_["setup_args"] == own.registry_["setup_args"]
    before = latent(model)
    assert_close(before, latent(base, make_cells()))
    with pytest.raises(ValueError, match=r"without its labels .*or not since from_pretrained.*Train again"):
        model.predict_celltype()

    model.train(**{**QUIET, "max_epochs": 2})
    assert len(model.history["train_loss"]) == 2 and len(model.history["validation_loss"]) == 2
    assert not np.allclose(latent(model), before, atol=1e-4)
    # The gene table stays, as it does after a spectral start.
    assert_same_genes(model, base)
    assert np.mean(model.predict_celltype() == cells.obs["cell_type"]) > 0.9
    model.train(**QUIET)
    assert len(model.history["train_loss"]) == 3


def test_an_earlier_model_of_the_same_cells_goes_on_as_before(checkpoint: Path, make_cells: Cells, fit: Fit):
    cells = make_cells()
    earlier = fit(cells)
    before = latent(earlier)
    start(checkpoint, cells)
    assert_close(latent(earlier), before)
    earlier.train(**QUIET)
    assert len(earlier.history["train_loss"]) == 2


def test_the_table_learns_on_request(checkpoint: Path, make_cells: Cells):
    model = start(checkpoint, registered(make_cells()))
    before = model.get_gene_embeddings()
    model.train(**QUIET, plan_kwargs={"table_lr": 1e-3})
    assert not np.array_equal(model.get_gene_embeddings(), before)


def test_cells_registered_with_the_vocabulary_keep_their_registry(
    base: GeneMambaModel, checkpoint: Path, make_cells: Cells
):
    cells = registered(make_cells(), vocabulary=base.vocabulary)
    manager = GeneMambaModel._get_most_recent_anndata_manager(cells)
    assert start(checkpoint, cells).adata_manager is manager


def test_the_gene_head_comes_along_and_is_not_started_anew(base: GeneMambaModel, checkpoint: Path, make_cells: Cells):
    model = start(checkpoint, registered(make_cells()))
    stored = base.module.gene_head.state_dict()
    assert all(torch.equal(model.module.gene_head.state_dict()[name], stored[name]) for name in stored)
    model.train(**{**QUIET, "max_epochs": 0})
    assert all(torch.equal(model.module.gene_head.state_dict()[name], stored[name]) for name in stored)


def test_a_missing_gene_head_starts_from_the_cells(checkpoint: Path, make_cells: Cells, tmp_path: Path):
    found = read_pretrained(checkpoint)
    fields = {name: getattr(found, name) for name in Pretrained.__dataclass_fields__}
    write_pretrained(tmp_path / "bare", Pretrained(**{**fields, "gene_head": {}}))
    model = start(tmp_path / "bare", registered(make_cells()))
    assert not model.module.gene_head.bias.any()
    model.train(**{**QUIET, "max_epochs": 0})
    # Log frequencies: they sum to one over all tokens.
    assert model.module.gene_head.bias.exp().sum().item() == pytest.approx(1.0, abs=1e-4)
    assert np.array_equal(model.get_gene_embeddings(), start(checkpoint).get_gene_embeddings())


def test_an_interrupted_fine_tuning_leaves_a_model_that_embeds(
    checkpoint: Path, make_cells: Cells, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    model = start(checkpoint, registered(make_cells()))
    monkeypatch.setattr("genemamba_sc.model._model.GeneMambaPlan.training_step", interrupt)
    with pytest.raises(KeyboardInterrupt, match="interrupted"):
        model.train(**QUIET)
    assert latent(model).shape == (60, 16)


def test_cells_must_be_registered_and_be_cells(checkpoint: Path, make_cells: Cells):
    with pytest.raises(
        ValueError, match=r"adata is not registered.*Call GeneMambaModel\.setup_anndata.*or leave adata"
    ):
        start(checkpoint, make_cells())
    cells = make_cells()
    cells.var_names = [f"ENSMUSG{i:011d}" for i in range(40)]
    with pytest.raises(ValueError, match=r"0 of 40 names in var_names are"):
        start(checkpoint, registered(cells))


def test_a_new_process_fine_tunes_saves_and_loads(checkpoint: Path, make_cells: Cells, tmp_path: Path):
    make_cells().write_h5ad(tmp_path / "cells.h5ad")
    code = (
        "import sys, anndata, numpy as np, genemamba_sc as gm\n"
        "checkpoint, out = sys.argv[1:]\n"
        "cells = anndata.read_h5ad(out + '/cells.h5ad')\n"
        "gm.GeneMambaModel.setup_anndata(cells, labels_key='cell_type')\n"
        "model = gm.GeneMambaModel.from_pretrained(checkpoint, adata=cells, accelerator='cpu')\n"
        "model.train(max_epochs=1, accelerator='cpu', enable_progress_bar=False)\n"
        "np.savez(out + '/found.npz', latent=model.get_latent_representation(), types=model.predict_celltype())\n"
        "model.save(out + '/model')"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(checkpoint), str(tmp_path)], check=True, capture_output=True
    )
    found = np.load(tmp_path / "found.npz", allow_pickle=True)
    model = load_model(GeneMambaModel, tmp_path / "model", make_cells(), "cpu", "auto")
    assert_close(latent(model), found["latent"])
    assert np.array_equal(model.predict_celltype(), found["types"])
    model.train(**QUIET)
    assert len(model.history["train_loss"]) == 2


# ------------------------------------------------------------------ published weights


@pytest.mark.parametrize("mode", ["mean", "gate"])
def test_published_weights_embed_and_fine_tune(publish: Publish, make_cells: Cells, tmp_path: Path, mode: str):
    folder = publish(tmp_path / "published", mode=mode, n_layer=2)
    with pytest.warns(UserWarning, match=r"No medians are known"):
        model = start(folder, registered(make_cells()), combine=mode)
    assert set(model.vocabulary.medians) == {1.0}
    before = latent(model)
    assert before.shape == (60, 32) and np.isfinite(before).all() and before.std(axis=0).min() > 0
    model.train(**QUIET)
    model.save(tmp_path / "model")
    again = GeneMambaModel.load(tmp_path / "model", adata=make_cells(), accelerator="cpu")
    assert_close(latent(again), latent(model))
    assert np.mean(again.predict_celltype() == again.adata.obs["cell_type"]) > 0.8


# ------------------------------------------------------------------------ weights out


def test_what_is_kept_of_a_trained_model(base: GeneMambaModel, checkpoint: Path):
    found = read_pretrained(checkpoint)
    assert found.vocabulary == base.vocabulary and found.max_len == 30
    assert found.manifest["license"] == "cc-by-4.0" and found.manifest["n_training_cells"] == 81
    assert found.evaluation == [{"set": "a", "accuracy": 0.5}]
    assert found.gene_head.keys() == base.module.gene_head.state_dict().keys()
    assert not any("cell_type" in name for name in found.encoder)


def test_weights_that_were_only_read_keep_their_story(checkpoint: Path, tmp_path: Path):
    start(checkpoint).save_pretrained(tmp_path / "again", manifest={"title": "Mine"})
    again, first = read_pretrained(tmp_path / "again"), read_pretrained(checkpoint)
    assert again.manifest == first.manifest | {"title": "Mine"}
    assert again.evaluation == first.evaluation
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()


def test_fine_tuned_weights_name_what_they_come_from(checkpoint: Path, make_cells: Cells, tmp_path: Path):
    model = start(checkpoint, registered(make_cells()))
    model.train(**QUIET)
    model.save_pretrained(tmp_path / "tuned")
    manifest = read_pretrained(tmp_path / "tuned").manifest
    assert (manifest["fine_tuned_from"], manifest["n_training_cells"]) == ("mini", 54)
    assert manifest["base_manifest"] == read_pretrained(checkpoint).manifest
    # Results of the weights before are not results of these.
    assert read_pretrained(tmp_path / "tuned").evaluation == []
    assert_close(latent(start(tmp_path / "tuned"), make_cells()), latent(model))


def test_untrained_weights_are_not_kept(make_cells: Cells, tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"worth keeping once they are trained; this model is not\. Call train\(\)"):
        GeneMambaModel(registered(make_cells()), d_model=16).save_pretrained(tmp_path / "never")
    assert os.listdir(tmp_path) == []


def test_an_existing_folder_is_replaced_only_on_request(checkpoint: Path, tmp_path: Path):
    model = start(checkpoint)
    model.save_pretrained(tmp_path / "mini")
    with pytest.raises(FileExistsError, match=r"exists already\. Choose another folder, or pass overwrite=True"):
        model.save_pretrained(tmp_path / "mini")
    model.save_pretrained(tmp_path / "mini", manifest={"title": "B"}, overwrite=True)
    assert read_pretrained(tmp_path / "mini").manifest["title"] == "B"


class Hub(ModuleType):
    """Stands in for huggingface_hub: keeps what is uploaded."""

    def __init__(self) -> None:
        super().__init__("huggingface_hub")
        self.HfApi = lambda: self
        self.calls: list[Any] = []
        self.files: list[str] = []

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        self.calls.append((repo_id, private, exist_ok))
        if repo_id.startswith("other/"):
            raise OSError("403 Forbidden")

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> SimpleNamespace:
        self.files = sorted(os.listdir(folder_path))
        self.calls.append((repo_id, commit_message, read_pretrained(folder_path).manifest["title"]))
        return SimpleNamespace(oid="c0ffee")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    stand_in = Hub()
    monkeypatch.setitem(sys.modules, "huggingface_hub", stand_in)
    return stand_in


def test_a_model_goes_to_the_hub_as_one_commit(checkpoint: Path, hub: Hub):
    revision = start(checkpoint).push_to_hub("lab/blood", manifest={"title": "Blood"}, message="First")
    assert revision == "c0ffee"
    assert hub.calls == [("lab/blood", True, True), ("lab/blood", "First", "Blood")]
    assert hub.files == sorted(os.listdir(checkpoint))


def test_an_upload_that_fails_says_what_to_do(checkpoint: Path, hub: Hub):
    model = start(checkpoint)
    with pytest.raises(OSError, match=r"upload to other/blood failed \(403 Forbidden\)\. Log in with `hf auth login`"):
        model.push_to_hub("other/blood")
    with pytest.raises(ValueError, match=r"named owner/name\. Got 'blood'\. Pass e\.g\."):
        model.push_to_hub("blood")
    assert hub.files == []


def test_without_the_library_nothing_is_uploaded(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'genemamba-sc\[hub\]'"):
        start(checkpoint).push_to_hub("lab/blood")


def test_a_vocabulary_without_cells_makes_a_registry_that_models_accept(make_cells: Cells):
    vocabulary = GeneVocabulary.from_anndata(make_cells())
    registry = registry_of(GeneMambaModel, vocabulary)
    real = GeneMambaModel(registered(make_cells(), labels_key=None), d_model=16).registry_
    assert registry.keys() == real.keys() - {"_scvi_uuid"}
    assert registry["setup_args"] == real["setup_args"]
    assert registry["field_registries"]["X"].keys() == real["field_registries"]["X"].keys()
    # No cells, no scale.
    states = [r["field_registries"]["X"]["state_registry"].keys() for r in (registry, real)]
    assert states[0] == states[1] - {"expression"}


def test_mini_ships_with_hashes_card_and_reference():
    found = read_pretrained("mini")
    assert found.vocabulary.n_genes == 13_266
    assert found.cells is not None
    assert found.manifest["steps"] == 800
    assert {row["method"] for row in found.evaluation} >= {"mini", "start", "start_denoised", "random", "hvg_pca", "lr"}


def test_mini_knows_its_own_cells(real_data):
    cells = ad.read_h5ad(real_data / "cells" / "pbmc3k.h5ad")[:50].copy()
    assert check_contamination(cells, "mini").exact.mean() > 0.95
