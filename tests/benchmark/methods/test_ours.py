"""GeneMamba in a benchmark: it reads the values that the baselines read, and its parts are what their names say."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from anndata import AnnData
from lightning.pytorch.callbacks import EarlyStopping
from scipy import sparse

from genemamba_sc import EncoderConfig, GeneMambaModel
from genemamba_sc.benchmark import report
from genemamba_sc.benchmark.methods._ours import bag, linear_head, random_encoder, scale_of
from genemamba_sc.benchmark.methods._outcome import Options

OURS = ["genemamba", "bag", "linear_head", "random_encoder"]


def corrected(adata: AnnData) -> AnnData:
    """The same cells with values that are linear, not whole, and small enough to pass for logarithms."""
    values = adata.X.toarray()
    values *= np.random.default_rng(0).uniform(0.8, 1.2, values.shape)
    adata = adata.copy()
    adata.X = sparse.csr_matrix((values * 4.6 / values.max()).astype(np.float32))
    return adata


@pytest.fixture
def scales(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None, str]]:
    """What GeneMamba is told of the scale, and takes it for: by the function that reads, in order."""
    from genemamba_sc.data.cells import _matrix

    seen: list[tuple[str, str | None, str]] = []
    detect = _matrix.detect_expression

    def spy(reader: Any, *, scale: str | None = None, where: str = "adata.X", **given: Any) -> Any:
        found = detect(reader, scale=scale, where=where, **given)
        seen.append((where, scale, found.kind))
        return found

    monkeypatch.setattr(_matrix, "detect_expression", spy)
    return seen


@pytest.mark.parametrize("name", OURS)
def test_values_that_were_stated_as_linear_are_read_as_linear(
    cells: AnnData, name: str, small: dict[str, Any], scales: list[tuple[str, str | None, str]]
):
    found = report(
        corrected(cells), "cell_type", "batch", methods=[name], splits=["random"], seeds=1, scale="normalised", **small
    )
    assert found.ok
    assert len(scales) > 3
    assert {scale for _, scale, _ in scales} == {"normalised"}


def test_counts_stay_counts(cells: AnnData, small: dict[str, Any], scales: list[tuple[str, str | None, str]]):
    report(cells, "cell_type", methods=["genemamba"], splits=["random"], seeds=1, **small)
    assert scales[0] == ("adata.X", None, "counts")
    assert {(scale, kind) for _, scale, kind in scales[1:]} == {("counts", "counts")}


def test_the_scale_is_that_of_all_parts(cells: AnnData):
    assert scale_of(cells) == scale_of(cells, cells) == "counts"
    assert scale_of(corrected(cells)) == scale_of(cells, corrected(cells)) == "normalised"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[GeneMambaModel]:
    """The models that were trained."""
    models: list[GeneMambaModel] = []
    train = GeneMambaModel.train

    def spy(self: GeneMambaModel, *given: Any, **named: Any) -> None:
        train(self, *given, **named)
        models.append(self)

    monkeypatch.setattr(GeneMambaModel, "train", spy)
    return models


def test_an_untrained_encoder_is_not_integrated(cells: AnnData, made: list[GeneMambaModel]):
    options = Options({"d_model": 16, "context_len": 16})
    found = random_encoder(cells[:60].copy(), cells[60:].copy(), 0, options)
    assert found.train_embedding is not None and found.train_embedding.shape == (60, 16)
    assert made[0].integration_ is None
    with pytest.raises(ValueError, match="integrate"):
        made[0].get_latent_representation(integrated=True)


def test_callbacks_of_one_fit_are_not_those_of_the_next(cells: AnnData, small: dict[str, Any]):
    callbacks = [EarlyStopping("validation_loss")]
    small["train_kwargs"]["callbacks"] = callbacks
    found = report(cells, "cell_type", methods=["genemamba"], splits=["random"], seeds=2, **small)
    assert found.not_run == ()
    assert [row.settings["train"]["callbacks"] for row in found.rows] == [[repr(callbacks[0])]] * 2
    assert len(callbacks) == 1


@pytest.mark.parametrize("part", [bag, linear_head])
def test_a_part_without_layers_has_none_of_a_whole_configuration_either(
    cells: AnnData, part: Callable[..., Any], made: list[GeneMambaModel]
):
    size = made_vocabulary_size(cells)
    config = EncoderConfig(vocab_size=size, d_model=16, n_layer=2, headdim=16, context_len=16)
    options = Options({"encoder_config": config}, {"max_epochs": 1, "accelerator": "cpu"})
    found = part(cells[:60].copy(), cells[60:].copy(), 0, options)
    assert [model.module.encoder.config.n_layer for model in made] == [0]
    assert made[0].module.encoder.config.d_model == 16
    assert found.predicted.shape == (30,)
    assert config.n_layer == 2


def made_vocabulary_size(cells: AnnData) -> int:
    """Number of tokens that cells register."""
    adata = cells.copy()
    GeneMambaModel.setup_anndata(adata)
    return GeneMambaModel(adata).vocabulary.size
