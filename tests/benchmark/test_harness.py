"""A model as harnesses ask for it: VCBench's methods, Open Problems' places."""

import abc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from genemamba_sc import GeneMambaModel
from genemamba_sc.benchmark import HarnessModel

Cells = Callable[..., AnnData]


class FoundationModel(abc.ABC):
    """What VCBench 1.0 asks of a model."""

    @abc.abstractmethod
    def load_pretrained(self, checkpoint_path: str) -> None: ...

    @abc.abstractmethod
    def embed(self, adata: AnnData) -> np.ndarray: ...


@pytest.fixture(scope="module")
def folders(trained: GeneMambaModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("harness")
    trained.save_pretrained(folder / "weights")
    trained.save(folder / "model")
    return {name: folder / name for name in ("weights", "model")}


def as_open_problems(cells: AnnData) -> AnnData:
    """Counts in a layer, Ensembl ids in a column, X of something else."""
    cells.layers["counts"] = cells.X.copy()
    cells.X = cells.X * 0
    cells.var["feature_id"] = cells.var_names
    cells.var_names = [f"row {i}" for i in range(cells.n_vars)]
    return cells


def test_vcbench_finds_both_methods(folders: dict[str, Path], make_cells: Cells):
    class GeneMamba(HarnessModel, FoundationModel):
        name = "GeneMamba, tiny"

    model = GeneMamba()
    model.load_pretrained(str(folders["weights"]))
    cells = make_cells(seed=5)
    found = model.embed(cells)
    expected = GeneMambaModel.from_pretrained(folders["weights"]).get_latent_representation(cells, key_added=None)
    np.testing.assert_array_equal(found, expected)
    assert list(cells.obsm) == [] and found.shape == (60, 16)


def test_an_embedding_is_written_where_open_problems_reads_it(folders: dict[str, Path], make_cells: Cells):
    plain, cells = make_cells(seed=5), as_open_problems(make_cells(seed=5))
    HarnessModel(folders["weights"], layer="counts", gene_id_key="feature_id").add_embedding(cells)
    np.testing.assert_array_equal(cells.obsm["X_emb"], HarnessModel(folders["weights"]).embed(plain))


def test_labels_are_projected_without_those_of_the_test_cells(folders: dict[str, Path], make_cells: Cells):
    train, test = (as_open_problems(make_cells(seed=seed)) for seed in (1, 2))
    train.obs["label"] = train.obs.pop("cell_type")
    truth = test.obs.pop("cell_type").astype(str)
    HarnessModel(folders["weights"], layer="counts", gene_id_key="feature_id").project_labels(train, test)
    assert (test.obs["label_pred"] == truth).mean() > 0.9
    assert list(train.obs) == ["batch", "label"] and list(test.obs) == ["batch", "label_pred"]


def test_a_saved_model_embeds_and_keeps_its_labels(
    folders: dict[str, Path], trained: GeneMambaModel, make_cells: Cells
):
    cells = make_cells(seed=5)
    model = HarnessModel(folders["model"])
    expected = trained.get_latent_representation(cells, key_added=None)
    np.testing.assert_allclose(model.embed(cells), expected, atol=1e-5)
    with pytest.raises(RuntimeError, match=r"Got none, or a saved model, which has labels of its own"):
        model.project_labels(cells, cells)


def test_nothing_is_embedded_without_weights(make_cells: Cells, tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"Weights embed cells\. Got none\. Call load_pretrained"):
        HarnessModel().embed(make_cells())
    with pytest.raises(FileNotFoundError, match="none of these"):
        HarnessModel(tmp_path / "nowhere")
