"""Files of older versions: models, weights, corpora and runs that were written before are read, and say the same."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from safetensors.numpy import load_file

from genemamba_sc import GeneMambaModel, read_pretrained
from genemamba_sc.cli import main
from genemamba_sc.corpus import TokenCorpus

HERE = Path(__file__).parent / "data"
FORMATS = ("format_1", "format_2")
# Other processors and libraries add up in another order.
TOLERANCE = 1e-5


def table(name: str, folder: Path = HERE / "format_2") -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv", index_col=0)


def query_of(folder: Path) -> AnnData:
    counts = table("counts", folder)
    return AnnData(counts.to_numpy(np.float32), obs=counts[[]].copy(), var=pd.DataFrame(index=counts.columns))


@pytest.mark.parametrize("name", FORMATS)
def test_an_old_model_loads_and_says_the_same(name: str):
    folder = HERE / name
    model = GeneMambaModel.load(folder / "model", adata=False, accelerator="cpu")
    query = query_of(folder)
    latent = model.get_latent_representation(query)
    np.testing.assert_allclose(latent, table("latent", folder).to_numpy(), atol=TOLERANCE)
    probabilities = model.predict_celltype(query, soft=True)
    pd.testing.assert_frame_equal(probabilities, table("probabilities", folder), atol=TOLERANCE, check_dtype=False)


@pytest.mark.parametrize("name", FORMATS)
def test_an_old_model_is_saved_anew_without_a_change(name: str, tmp_path: Path):
    model = GeneMambaModel.load(HERE / name / "model", adata=False, accelerator="cpu")
    model.save(tmp_path / "again")
    again = GeneMambaModel.load(tmp_path / "again", adata=False, accelerator="cpu")
    query = query_of(HERE / name)
    assert np.array_equal(again.get_latent_representation(query), model.get_latent_representation(query))


@pytest.mark.parametrize("name", FORMATS)
def test_an_old_model_has_no_calibration_until_it_gets_one(name: str):
    model = GeneMambaModel.load(HERE / name / "model", adata=False, accelerator="cpu")
    query = query_of(HERE / name)
    before = model.predict_celltype(query, soft=True)
    with pytest.raises(ValueError, match=r"saved before there were any\. Call model\.calibrate\(adata"):
        model.predict_celltype(query, return_sets=True)
    query.obs["type"] = before.columns.to_numpy()[np.arange(query.n_obs) % before.shape[1]]
    model.calibrate(query, "type")
    coverage = query.n_obs / (query.n_obs + 1) - 0.01
    types, sets = model.predict_celltype(query, return_sets=True, coverage=coverage)
    assert list(types) == list(before.columns[before.to_numpy().argmax(axis=1)])
    assert sets.members.shape == before.shape


def test_cells_have_the_tokens_that_they_had():
    model = GeneMambaModel.load(HERE / "format_2" / "model", adata=False, accelerator="cpu")
    tokens = model._source(query_of(HERE / "format_2")).tokens(np.arange(6))
    assert np.array_equal(tokens.ids, table("token_ids").to_numpy())


def test_an_old_pretrained_folder_embeds_the_same():
    model = GeneMambaModel.from_pretrained(HERE / "format_2" / "pretrained", accelerator="cpu")
    latent = model.get_latent_representation(query_of(HERE / "format_2"))
    np.testing.assert_allclose(latent, table("latent").to_numpy(), atol=TOLERANCE)


def test_an_old_corpus_opens():
    corpus = TokenCorpus.open(HERE / "format_2" / "corpus")
    assert corpus.n_cells == 90
    assert corpus.identity() == "f8cb78c1e3d9d4bdecf30b7792c681def1aa8e894c8ad6aa9dc67768562686d8"


def test_an_old_run_goes_on_to_the_same_weights(tmp_path: Path):
    shutil.copytree(HERE / "format_2" / "weights.run", tmp_path / "weights.run")
    corpus = HERE / "format_2" / "corpus"
    options = "--size mini --max-steps 12 --save-every 6 --validation-cells 12 --token-budget 256 --ema 0.9".split()
    assert main(["pretrain", str(corpus), str(tmp_path / "weights"), *options]) == 0
    old, new = (load_file(folder / "weights" / "model.safetensors") for folder in (HERE / "format_2", tmp_path))
    assert old.keys() == new.keys()
    for name in old:
        np.testing.assert_allclose(new[name], old[name], atol=TOLERANCE, err_msg=name)
    assert read_pretrained(tmp_path / "weights").manifest["steps"] == 12
