"""What weights were trained on, in the form of VCBench."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import AnnData

from genemamba_sc import ContaminationManifest, GeneMambaModel, Pretrained, contamination_manifest, read_pretrained
from genemamba_sc.data import CellHashes, Tokens

# The fields of vcbench.contamination.ContaminationManifest, VCBench 1.0; it forbids all others.
FIELDS = {
    "schema_version", "model", "model_version", "pretraining_corpus", "pretraining_corpus_md5", "included_datasets",
    "excluded_datasets", "excluded_tissue_types", "notes",
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(trained: GeneMambaModel, tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    folder = tmp_path_factory.mktemp("manifest") / "own"
    trained.save_pretrained(folder)
    return replace(read_pretrained(folder), manifest={}, cells=None)


def known(weights: Pretrained, **manifest: Any) -> Pretrained:
    return replace(weights, manifest=manifest)


def test_the_form_is_that_of_vcbench():
    found = json.loads(contamination_manifest("mini").to_json())
    assert set(found) == FIELDS
    assert found["schema_version"] == "vcbench-contamination-v1" and found["model"] == "GeneMamba mini"
    assert found["model_version"].startswith("mini of genemamba_sc ")
    assert found["pretraining_corpus"] == "10 sets, 42,084 cells, fingerprint 0b97bc9d5d986535"
    assert found["included_datasets"] == [
        "pbmc3k", "zheng_sorted", "kang_ctrl", "immune_3studies", "cell_lines", "onek1k", "pbmc_chemistries",
        "pbmc_frozen", "pbmc_lanes", "dendritic_lognorm",
    ]  # fmt: skip
    assert (found["excluded_datasets"], found["excluded_tissue_types"]) == ([], [])
    assert found["pretraining_corpus_md5"] is None and "42,084 training cells" in found["notes"]


def test_what_only_the_author_knows_is_passed(weights: Pretrained):
    found = contamination_manifest(
        known(weights, training_data=[{"set": "GSE1", "cells": 3}, {"set": "GSE2"}, {"cells": 4}], title="Lung"),
        name="lung-2",
        pretraining_corpus="two lung studies",
        pretraining_corpus_md5="0123456789abcdef" * 2,
        excluded_datasets=["GSE133344"],
        excluded_tissue_types=["cell culture"],
        notes="Adults only.",
    )
    assert found.to_dict() == {
        "schema_version": "vcbench-contamination-v1",
        "model": "lung-2",
        "model_version": "own",
        "pretraining_corpus": "two lung studies",
        "pretraining_corpus_md5": "0123456789abcdef0123456789abcdef",
        "included_datasets": ["GSE1", "GSE2"],
        "excluded_datasets": ["GSE133344"],
        "excluded_tissue_types": ["cell culture"],
        "notes": "Adults only.",
    }


def test_a_training_told_in_words_names_the_corpus(weights: Pretrained):
    found = contamination_manifest(known(weights, training_data="blood of adults"))
    assert (found.pretraining_corpus, found.included_datasets, found.model) == ("blood of adults", (), "own")
    assert contamination_manifest(known(weights, training_data=[{"set": "a"}])).pretraining_corpus == "1 set"


def test_sets_of_the_hashes_and_of_the_base_count(weights: Pretrained):
    tokens = Tokens(np.full((2, 9), 3, np.int32), np.ones((2, 9), np.float32), np.full(2, 9, np.int32))
    cells = CellHashes.from_tokens(tokens, 16, np.zeros(2, int), ("own.h5ad",))
    base = {"training_data": [{"set": "base"}]}
    tuned = replace(known(weights, fine_tuned_from="base 1", base_manifest=base, n_training_cells=7), cells=cells)
    found = contamination_manifest(tuned)
    assert found.included_datasets == ("own", "base") and found.pretraining_corpus == "2 sets"
    assert found.notes is not None
    assert "Hashes of the rank tokens of 2 training cells" in found.notes
    assert "Trained further from base 1 on 7 cells that are not listed." in found.notes


def test_a_model_says_what_its_weights_say(make_cells: Callable[..., AnnData], trained: GeneMambaModel):
    assert contamination_manifest(GeneMambaModel.from_pretrained("mini")) == contamination_manifest("mini")
    with pytest.raises(ValueError, match=r"Got a model that started from none\. Give one made by from_pretrained"):
        contamination_manifest(trained)


def test_nothing_is_made_up(weights: Pretrained):
    with pytest.raises(ValueError, match=r"Got own, which does not say it\. Pass pretraining_corpus="):
        contamination_manifest(weights)
    assert contamination_manifest(weights, pretraining_corpus="mine").included_datasets == ()


def test_wrong_values_are_refused(weights: Pretrained):
    with pytest.raises(ValueError, match=r"32 hexadecimal digits in lower case\. Got 'ABC'"):
        contamination_manifest("mini", pretraining_corpus_md5="ABC")
    with pytest.raises(TypeError, match=r"excluded_datasets must be a list of names\. Got the text 'GSE1'"):
        contamination_manifest("mini", excluded_datasets="GSE1")
    with pytest.raises(ValueError, match=r"model must be named\. Got ' '"):
        ContaminationManifest(" ", "corpus")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        contamination_manifest("nowhere")


def test_a_number_is_no_model(unchecked: None):
    with pytest.raises(TypeError, match=r"Got int\. Pass one of these"):
        contamination_manifest(3)  # type: ignore[arg-type]


def test_it_is_written_whole(tmp_path: Path):
    manifest = contamination_manifest("mini")
    assert (manifest.to_json(tmp_path / "manifest.json")) == (tmp_path / "manifest.json").read_text(encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        manifest.to_json(tmp_path / "nowhere" / "manifest.json")
