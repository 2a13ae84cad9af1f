"""The scvi-tools field of the genes: what is registered, what is left alone, what is refused."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scvi.data import AnnDataManager

from genemamba_sc._constants import VOCABULARY_KEY
from genemamba_sc.data import GeneVocabulary
from genemamba_sc.model.registration._fields import GenesField

GENES = [f"ENSG{i:011d}" for i in range(1, 7)]


def new_adata(matrix=None, genes=GENES) -> ad.AnnData:
    if matrix is None:
        matrix = sparse.csr_matrix(np.random.default_rng(0).poisson(2.0, (30, len(genes))).astype(np.float32) + 1)
    return ad.AnnData(matrix, var=pd.DataFrame(index=list(genes)))


def register(adata: ad.AnnData, **options) -> AnnDataManager:
    field = GenesField(**{"layer": None, "gene_id_key": None} | options)
    manager = AnnDataManager(fields=[field], setup_method_args={"setup_args": {}})
    manager.register_fields(adata)
    return manager


def state_of(manager: AnnDataManager) -> dict:
    return manager.registry["field_registries"]["X"]["state_registry"]


def test_the_genes_are_registered_as_a_vocabulary():
    adata = new_adata()

    state = state_of(register(adata))

    assert (state["n_obs"], state["n_vars"], state["column_names"].tolist()) == (30, 6, GENES)
    vocabulary = GeneVocabulary.from_dict(state[VOCABULARY_KEY])
    assert vocabulary.gene_ids == tuple(GENES)
    assert vocabulary == GeneVocabulary.from_anndata(adata)


def test_a_given_vocabulary_is_taken():
    vocabulary = GeneVocabulary(tuple(GENES[:4]), ("",) * 4, np.array([1.0, 2.0, 3.0, 4.0]), "human")

    state = state_of(register(new_adata(), vocabulary=vocabulary))

    assert GeneVocabulary.from_dict(state[VOCABULARY_KEY]) == vocabulary


def test_genes_may_stand_in_a_column_and_counts_in_a_layer():
    adata = new_adata(genes=[f"row {i}" for i in range(6)])
    adata.var["ensembl"] = GENES
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.toarray() - 3.0

    manager = register(adata, layer="counts", gene_id_key="ensembl")

    assert state_of(manager)[VOCABULARY_KEY]["gene_ids"] == GENES
    assert manager.get_from_registry("X") is adata.layers["counts"]


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(sparse.csc_matrix, id="csc matrix"),
        pytest.param(sparse.csr_array, id="csr array"),
        pytest.param(lambda x: x.astype(np.int64), id="whole numbers"),
        pytest.param(lambda x: x.toarray(), id="dense"),
    ],
)
def test_the_matrix_stays_as_it_is(convert):
    matrix = convert(new_adata().X)
    adata = new_adata(matrix)
    stored, before = adata.X, adata.X.copy()

    register(adata)

    assert adata.X is stored
    assert (type(adata.X), adata.X.dtype) == (type(before), before.dtype)
    assert abs(adata.X - before).max() == 0


def test_a_file_is_registered_without_reading_it_whole(tmp_path):
    adata = new_adata()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")

    state = state_of(register(backed))

    assert backed.isbacked
    assert GeneVocabulary.from_dict(state[VOCABULARY_KEY]) == GeneVocabulary.from_anndata(adata)
    backed.file.close()


def test_a_query_with_fewer_shuffled_and_unknown_genes_keeps_the_vocabulary():
    manager = register(new_adata())
    query = new_adata(genes=[GENES[4], "ENSG00000099999", GENES[0], GENES[2]])

    transferred = state_of(manager.transfer_fields(query))

    assert (transferred["n_vars"], transferred["column_names"].tolist()) == (4, query.var_names.tolist())
    assert transferred[VOCABULARY_KEY] == state_of(manager)[VOCABULARY_KEY]


@pytest.mark.parametrize(
    ("adata", "options", "message"),
    [
        pytest.param(
            new_adata(np.random.default_rng(0).normal(size=(30, 6))), {}, r"negative.*adata\.raw", id="scaled values"
        ),
        pytest.param(new_adata(np.zeros((30, 6))), {}, "zero", id="nothing but zeros"),
        pytest.param(new_adata(), {"layer": "counts"}, r"layer must name one.*'counts'", id="no such layer"),
        pytest.param(new_adata(), {"gene_id_key": "ensembl"}, "ensembl", id="no such column"),
        pytest.param(
            new_adata(),
            {"vocabulary": GeneVocabulary(("ENSG00000099999",), ("",), np.ones(1), "human")},
            "The genes must be in the vocabulary",
            id="no gene of the vocabulary",
        ),
    ],
)
def test_what_cannot_be_ranked_or_matched_is_refused(adata, options, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        register(adata, **options)


def test_a_query_of_other_genes_is_refused():
    manager = register(new_adata())
    query = new_adata(genes=[f"ENSG{i:011d}" for i in range(50, 56)])

    with pytest.raises(ValueError, match="The genes must be in the vocabulary"):
        manager.transfer_fields(query)
