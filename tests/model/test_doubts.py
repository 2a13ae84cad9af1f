"""Pretrained weights that know nothing of somebody's cells: said once, in one sentence, and not of good ones."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse

from genemamba_sc import EncoderConfig, GeneMambaModel, GeneVocabulary, Pretrained, write_pretrained
from genemamba_sc.nn import BiMambaEncoder

DOUBT = "Pretrained weights should tell more of these cells than random gene vectors"
N_GENES, N_PROGRAMS, WIDTH = 240, 6, 8
IDS = tuple(f"ENSG{i:011d}" for i in range(1, N_GENES + 1))


def cells_of(n_obs: int = 150, seed: int = 0) -> AnnData:
    """Counts of six programs of forty genes."""
    rng = np.random.default_rng(seed)
    use = rng.dirichlet(np.full(N_PROGRAMS, 0.3), n_obs)
    counts = rng.poisson(3 * use[:, np.arange(N_GENES) % N_PROGRAMS] + 0.02).astype(np.float32)
    adata = AnnData(sparse.csr_matrix(counts))
    adata.var_names = list(IDS)
    adata.obs["cell_type"] = [f"type {program}" for program in use.argmax(axis=1)]
    return adata


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a bag of tokens whose table knows the programs, or knows them no longer."""
    folder = tmp_path_factory.mktemp("weights")

    def write(state: str) -> Path:
        config = EncoderConfig(vocab_size=N_GENES + 4, d_model=WIDTH, n_layer=0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            encoder = dict(BiMambaEncoder(config).state_dict())
        if state != "random":
            table = torch.zeros(N_GENES + 4, WIDTH)
            table[2:-2] = torch.eye(WIDTH)[torch.arange(N_GENES) % N_PROGRAMS]
            order = torch.randperm(N_GENES, generator=torch.Generator().manual_seed(0))
            table[2:-2] = table[2:-2][order] if state == "shuffled" else table[2:-2]
            encoder["embeddings.weight"] = torch.ones_like(table) if state == "equal" else table
        vocabulary = GeneVocabulary(IDS, ("",) * N_GENES, np.ones(N_GENES), "human")
        pretrained = Pretrained(config, encoder, {}, vocabulary, 256, {}, [], state)
        if not (folder / state).exists():
            write_pretrained(folder / state, pretrained)
        return folder / state

    return write


def doubts(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(warning.message) for warning in caught if DOUBT in str(warning.message)]


@pytest.mark.parametrize("state", ["random", "shuffled", "equal"])
def test_weights_that_know_nothing_are_doubted(state: str, weights: Callable[[str], Path]):
    adata = cells_of()
    GeneMambaModel.setup_anndata(adata, labels_key="cell_type")
    with pytest.warns(UserWarning, match=DOUBT) as caught:
        model = GeneMambaModel.from_pretrained(weights(state), adata, accelerator="cpu")
        model.get_latent_representation()
    (message,) = doubts(list(caught))
    assert f"Those of {state} do not: " in message and "checkpoint_report" in message
    said = "all of 150 cells have nearly the same embedding" if state == "equal" else "half of the genes of 150 cells"
    assert said in message
    assert [w.filename for w in caught if DOUBT in str(w.message)] == [__file__]


def test_weights_that_know_the_programs_are_not(weights: Callable[[str], Path]):
    adata = cells_of()
    GeneMambaModel.setup_anndata(adata, labels_key="cell_type")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        GeneMambaModel.from_pretrained(weights("good"), adata, accelerator="cpu")
        GeneMambaModel.from_pretrained(weights("good"), accelerator="cpu").get_latent_representation(adata)
    assert doubts(caught) == []


def test_without_cells_the_first_that_are_embedded_are_looked_at_once(weights: Callable[[str], Path]):
    model = GeneMambaModel.from_pretrained(weights("shuffled"), accelerator="cpu")
    with pytest.warns(UserWarning, match=DOUBT) as caught:
        embedded = model.get_latent_representation(cells_of())
        again = model.get_latent_representation(cells_of())
    assert len(doubts(list(caught))) == 1
    np.testing.assert_array_equal(embedded, again)


def test_a_few_cells_leave_the_question_open(weights: Callable[[str], Path]):
    model = GeneMambaModel.from_pretrained(weights("shuffled"), accelerator="cpu")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.get_latent_representation(cells_of(40))
        assert doubts(caught) == []
        model.get_latent_representation(cells_of())
    assert len(doubts(caught)) == 1


def test_a_model_trained_since_is_not_asked(weights: Callable[[str], Path]):
    adata = cells_of(70)
    GeneMambaModel.setup_anndata(adata, labels_key="cell_type")
    model = GeneMambaModel.from_pretrained(weights("shuffled"), accelerator="cpu")
    model._doubts_open, model.is_trained_ = True, True
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.get_latent_representation(adata)
    assert doubts(caught) == []


def test_training_mode_and_random_numbers_stay_as_they_are(weights: Callable[[str], Path]):
    torch.manual_seed(1)
    np.random.seed(1)
    model = GeneMambaModel.from_pretrained(weights("good"), accelerator="cpu")
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    model.get_latent_representation(cells_of())
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert not model.module.training


def test_cells_that_cannot_tell_leave_the_question_open(weights: Callable[[str], Path]):
    """Genes that vary by chance alone: no vectors foretell them, so that none are to blame."""
    noise = cells_of()
    noise.X = sparse.csr_matrix(np.random.default_rng(1).poisson(0.6, noise.shape).astype(np.float32))
    model = GeneMambaModel.from_pretrained(weights("shuffled"), accelerator="cpu")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.get_latent_representation(noise)
        assert doubts(caught) == []
        model.get_latent_representation(cells_of())
    assert len(doubts(caught)) == 1
