"""The start: gene table and frequencies from the training cells, scores of cell types from their labels."""

import numpy as np
import pytest
import torch
from scipy import sparse

from genemamba_sc.data import CellReader, CellSource, Expression, GeneVocabulary, RankTokenizer
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.model.fitting import _start
from genemamba_sc.model.fitting._start import sample_genes
from genemamba_sc.nn import EncoderConfig, gene_log_frequency
from genemamba_sc.training import _cell_types, _gene_table
from genemamba_sc.training._dataset import TokenDataset
from genemamba_sc.training._gene_table import denoised_gene_table, spectral_gene_table

N_CELLS, N_GENES = 60, 9


def new_dataset(n_batches: int = 0, labels: np.ndarray | None = None) -> TokenDataset:
    """Cells of 3 types in turn, 3 genes that each type has more of; gene 8 (token 10) is in cell 59 alone."""
    rng = np.random.default_rng(0)
    types = np.arange(N_CELLS) % 3
    rates = np.where(np.arange(N_GENES)[None, :] // 3 == types[:, None], 4.0, 1.0)
    counts = rng.poisson(rates).astype(np.float32)
    counts[:, 8] = 0
    counts[59, 8] = 5
    vocabulary = GeneVocabulary(tuple("ABCDEFGHI"), ("",) * N_GENES, np.ones(N_GENES), "unknown")
    source = CellSource(
        CellReader(sparse.csr_matrix(counts)),
        np.arange(2, 2 + N_GENES, dtype=np.int32),
        Expression("counts", None, ""),
        RankTokenizer(vocabulary),
    )
    columns = {"labels": types if labels is None else labels}
    if n_batches:
        columns["batch"] = np.arange(N_CELLS) // 3 % n_batches
    return TokenDataset(source, columns)


def new_module(dataset: TokenDataset, **config) -> GeneMambaModule:
    torch.manual_seed(0)
    config = EncoderConfig(vocab_size=dataset.vocabulary.size, d_model=4, n_layer=0, **config)
    return GeneMambaModule(config, n_labels=3)


def table_of(module: GeneMambaModule) -> np.ndarray:
    return module.encoder.embeddings.weight.detach().numpy().copy()


def start_genes(module, dataset, train, gene_init, seed=0) -> None:
    _start.start_genes(module, sample_genes(dataset, train, seed), gene_init)


def start_cell_types(module, dataset, train, validation, gene_init, seed=0) -> np.ndarray:
    tables = _start.program_tables(module, sample_genes(dataset, train, seed), gene_init)
    return _start.start_cell_types(module, dataset, train, validation, tables, seed).scores


TRAIN, VALIDATION = np.arange(0, 45), np.arange(45, 57)


# ---------------------------------------------------------------------- genes


def test_a_random_start_leaves_the_table_and_sets_the_frequencies():
    dataset = new_dataset()
    module = new_module(dataset)
    before = table_of(module)

    start_genes(module, dataset, TRAIN, "random")

    np.testing.assert_array_equal(table_of(module), before)
    ids = dataset.tokens(TRAIN).ids
    counts = torch.tensor([float((ids == token).sum()) for token in range(dataset.vocabulary.size)])
    assert counts[1] > 0  # pads, which must not count
    assert torch.equal(module.gene_head.bias, gene_log_frequency(counts))


def test_frequencies_are_of_the_genes_that_the_layers_read():
    dataset = new_dataset()
    module = new_module(dataset, context_len=2)

    start_genes(module, dataset, TRAIN, "random")

    ids = dataset.tokens(TRAIN).ids[:, :2]
    counts = torch.tensor([float((ids == token).sum()) for token in range(dataset.vocabulary.size)])
    assert torch.equal(module.gene_head.bias, gene_log_frequency(counts))


def test_a_spectral_start_sets_the_rows_of_the_genes_that_training_cells_have():
    dataset = new_dataset()
    module = new_module(dataset)
    before = table_of(module)

    start_genes(module, dataset, TRAIN, "spectral")

    changed = (table_of(module) != before).any(axis=1)
    # Token 10 is in a cell outside the training cells alone; 0, 1, 11 and 12 are special.
    assert np.flatnonzero(changed).tolist() == [2, 3, 4, 5, 6, 7, 8, 9]


def test_a_denoised_start_shrinks_the_spectral_one(monkeypatch):
    monkeypatch.setattr(_gene_table, "_LEAST_GENES", 2)  # these cells have nine genes at most
    dataset = new_dataset()
    module = new_module(dataset)

    start_genes(module, dataset, TRAIN, "denoised", seed=3)

    tokens, size = dataset.tokens(TRAIN), dataset.vocabulary.size
    spectral = spectral_gene_table(tokens, size, 4, seed=3)
    expected = denoised_gene_table(tokens, spectral, seed=3)
    np.testing.assert_allclose(table_of(module)[2:10], expected[2:10], rtol=1e-5)
    assert np.abs(expected - spectral).max() > 0.1


def test_the_start_is_deterministic():
    dataset = new_dataset()
    tables = []
    for _ in range(2):
        module = new_module(dataset)
        start_genes(module, dataset, TRAIN, "spectral", seed=3)
        tables.append(table_of(module))

    np.testing.assert_array_equal(*tables)


def test_of_many_cells_a_random_subset_is_read(monkeypatch):
    dataset = new_dataset()
    asked = []
    monkeypatch.setattr(_gene_table, "_CELLS", 10)
    monkeypatch.setattr(TokenDataset, "tokens", lambda self, rows: asked.append(rows) or self._take(rows))

    for seed in (0, 0, 1):
        start_genes(new_module(dataset), dataset, TRAIN, "random", seed=seed)
    start_genes(new_module(dataset), dataset, TRAIN[:10], "random")

    first, same, other, few = (rows.tolist() for rows in asked)
    assert first == same != other
    assert first == sorted(set(first)) and len(first) == 10 and set(first) <= set(TRAIN.tolist())
    assert few == TRAIN[:10].tolist()


# ----------------------------------------------------------------- cell types


def test_scores_find_the_types_and_validation_cells_are_scored_by_the_fit():
    dataset = new_dataset()
    module = new_module(dataset)

    scores = start_cell_types(module, dataset, TRAIN, VALIDATION, "random")

    assert (scores.shape, scores.dtype) == ((N_CELLS, 3), np.float32)
    batch = dataset[VALIDATION.tolist()]
    head = module.cell_type_head.score_genes(batch["token_ids"], batch["token_values"]).numpy()
    np.testing.assert_allclose(scores[VALIDATION], head, rtol=1e-4, atol=1e-4)
    assert (scores[VALIDATION].argmax(1) == dataset.columns["labels"][VALIDATION]).mean() > 0.7
    assert (scores[TRAIN].argmax(1) == dataset.columns["labels"][TRAIN]).mean() > 0.7
    assert not scores[57:].any()


def test_a_training_cell_is_scored_by_a_fit_that_did_not_see_its_batch(monkeypatch):
    # The two factors of the blend are of all cells.
    monkeypatch.setattr(_cell_types, "blend_scores", lambda *parts: (1.0, 1.0))
    dataset = new_dataset(n_batches=3)
    shuffled = dataset.columns["labels"].copy()
    of_batch = dataset.columns["batch"] == 0
    shuffled[of_batch] = (shuffled[of_batch] + 1) % 3
    others = new_dataset(n_batches=3, labels=shuffled)

    before = start_cell_types(new_module(dataset), dataset, TRAIN, VALIDATION, "random")
    after = start_cell_types(new_module(others), others, TRAIN, VALIDATION, "random")

    same = TRAIN[of_batch[TRAIN]]
    np.testing.assert_array_equal(after[same], before[same])
    rest = np.setdiff1d(TRAIN, same)
    assert (np.abs(after[rest] - before[rest]).max(axis=1) > 1e-3).all()


def test_the_labels_of_validation_cells_are_not_read():
    dataset = new_dataset()
    shuffled = dataset.columns["labels"].copy()
    shuffled[45:] = 2 - shuffled[45:]
    others = new_dataset(labels=shuffled)

    before, after = (start_cell_types(new_module(d), d, TRAIN, VALIDATION, "random") for d in (dataset, others))

    np.testing.assert_array_equal(after, before)


def test_a_refit_reads_the_labels_of_validation_cells_and_keeps_blend_and_tables():
    dataset = new_dataset()
    module, again = new_module(dataset), new_module(dataset)
    tables = _start.program_tables(module, sample_genes(dataset, TRAIN), "random")
    start = _start.start_cell_types(module, dataset, TRAIN, VALIDATION, tables, 0)
    before = {name: buffer.clone() for name, buffer in module.cell_type_head.named_buffers()}

    _start.refit_on_all(module, dataset, np.concatenate([TRAIN, VALIDATION]), start)
    whole = fit_on(dataset, np.arange(57), start)

    head = module.cell_type_head
    np.testing.assert_allclose(head.markers, whole.markers, atol=1e-4)
    np.testing.assert_allclose(head.programs, whole.programs, atol=1e-3)
    assert whole.blend == start.blend and not torch.equal(head.markers, before["markers"])
    _start.refit_on_all(again, dataset, TRAIN, start)
    np.testing.assert_allclose(again.cell_type_head.markers, before["markers"], atol=1e-4)


def test_predictions_lean_to_rare_types_and_the_scores_that_the_encoder_learns_from_do_not():
    labels = np.where(np.arange(N_CELLS) % 9 < 6, 0, np.arange(N_CELLS) % 3)
    dataset = new_dataset(labels=labels)
    module = new_module(dataset)

    scores = start_cell_types(module, dataset, TRAIN, VALIDATION, "random")

    batch = dataset[VALIDATION.tolist()]
    head = module.cell_type_head.score_genes(batch["token_ids"], batch["token_values"]).numpy()
    counts = np.bincount(labels[TRAIN], minlength=3)
    towards_rare = np.log(counts.max() / counts) / 5
    assert towards_rare.max() > 0.3
    np.testing.assert_allclose(head - scores[VALIDATION], np.tile(towards_rare, (len(VALIDATION), 1)), atol=1e-4)


def fit_on(dataset: TokenDataset, cells: np.ndarray, start: _start.CellTypeStart) -> _cell_types.CellTypeFit:
    labels = dataset.columns["labels"][cells]
    return _cell_types.refit_cell_types(dataset, cells, labels, 3, start.tables, start.blend, seed=start.seed)


def test_training_cells_without_a_label_have_no_score():
    labels = np.arange(N_CELLS) % 3
    labels[:6] = 3
    dataset = new_dataset(labels=labels)

    scores = start_cell_types(new_module(dataset), dataset, TRAIN, VALIDATION, "random")

    assert not scores[:6].any()
    assert scores[6:57].any(axis=1).all()


@pytest.mark.parametrize("gene_init", ["spectral", "denoised", "random"])
def test_programs_read_a_spectral_table_denoised_and_others_as_they_are(monkeypatch, gene_init):
    monkeypatch.setattr(_gene_table, "_LEAST_GENES", 2)  # these cells have nine genes at most
    given = []
    fit = _start.fit_cell_types
    monkeypatch.setattr(_start, "fit_cell_types", lambda *parts, **more: given.extend(parts[4]) or fit(*parts, **more))
    dataset = new_dataset()
    module = new_module(dataset)
    start_genes(module, dataset, TRAIN, gene_init, seed=3)

    start_cell_types(module, dataset, TRAIN, VALIDATION, gene_init, seed=3)

    table, own = given
    tokens, size = dataset.tokens(TRAIN), dataset.vocabulary.size
    spectral = spectral_gene_table(tokens, size, 4, seed=3)
    if gene_init == "spectral":
        np.testing.assert_allclose(table, denoised_gene_table(tokens, spectral, seed=3), rtol=1e-5, atol=1e-6)
        assert not table[10].any()  # in no training cell
        np.testing.assert_array_equal(table_of(module)[2:10], spectral[2:10])
    else:
        np.testing.assert_array_equal(table, table_of(module))
    np.testing.assert_array_equal(own, spectral_gene_table(tokens, size, 16, seed=3))


def test_blocks_of_validation_cells_change_nothing(monkeypatch):
    dataset = new_dataset()
    whole = start_cell_types(new_module(dataset), dataset, TRAIN, VALIDATION, "random")
    monkeypatch.setattr(_start, "_BLOCK", 5)

    parts = start_cell_types(new_module(dataset), dataset, TRAIN, VALIDATION, "random")
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-5)  # threads of BLAS may sum blocks in another order


@pytest.mark.parametrize("validation", [[], [50]], ids=["none", "one"])
def test_few_validation_cells(validation):
    dataset = new_dataset()

    scores = start_cell_types(new_module(dataset), dataset, TRAIN, np.array(validation, dtype=np.int64), "random")

    assert np.flatnonzero(scores[45:].any(axis=1)).tolist() == [row - 45 for row in validation]


@pytest.mark.parametrize(
    ("d_model", "gene_init", "times"),
    [(20, "spectral", 1), (20, "denoised", 1), (20, "random", 1), (4, "spectral", 2)],
    ids=["wide enough", "wide enough and denoised", "no table of its own", "too narrow"],
)
def test_cells_are_factorised_once_where_the_table_is_wide_enough(monkeypatch, d_model, gene_init, times):
    factorise, seen = _gene_table.randomized_svd, []
    monkeypatch.setattr(_gene_table, "randomized_svd", lambda m, n, **more: seen.append(n) or factorise(m, n, **more))
    dataset = new_dataset()
    torch.manual_seed(0)
    module = GeneMambaModule(EncoderConfig(vocab_size=dataset.vocabulary.size, d_model=d_model, n_layer=0), n_labels=3)
    sample = sample_genes(dataset, TRAIN)

    _start.start_genes(module, sample, gene_init)
    _start.program_tables(module, sample, gene_init)

    assert len(seen) == times
