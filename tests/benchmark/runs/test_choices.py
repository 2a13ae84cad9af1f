"""What can be asked for, and what is refused before any work."""

import numpy as np
import pytest
from lightning.pytorch.callbacks import EarlyStopping

from genemamba_sc import EncoderConfig
from genemamba_sc.benchmark.methods._methods import METHODS
from genemamba_sc.benchmark.methods._outcome import Options
from genemamba_sc.benchmark.runs._choices import (
    SplitChoice,
    chosen_methods,
    chosen_options,
    chosen_seeds,
    chosen_splits,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("random", ("random", 0.2, "", "")),
        ("random:0.3", ("random", 0.3, "", "")),
        ("batch", ("batch", 4, "", "")),
        ("batch:2", ("batch", 2, "", "")),
        ("few:10", ("few", 10, "", "")),
        ("few:0.05", ("few", 0.05, "", "")),
        ("query", ("query", 0, "", "")),
        ("query:study=a=b", ("query", 0, "study=a", "b")),
        ("query:my study:2=B 1", ("query", 0, "my study:2", "B 1")),
    ],
)
def test_a_split_is_read_from_its_text(text: str, expected: tuple):
    assert SplitChoice.parse(text) == SplitChoice(expected[0], text, float(expected[1]), *expected[2:])


@pytest.mark.parametrize(
    "text",
    ["", "Random", "random:", "random:0", "random:1", "random:x", "random:nan", "batch:0", "batch:1.5", "batch:x",
     "few", "few:0", "few:1.5", "few:-1", "query:", "query:study", "query:study=", "query:=b", "stratified"],
)  # fmt: skip
def test_other_texts_are_refused_with_those_that_are_read(text: str):
    with pytest.raises(ValueError, match=r"A split is one of random, random:SHARE, .* Got '"):
        SplitChoice.parse(text)


def test_the_default_splits_are_those_that_the_cells_allow():
    def names(**allowed: bool) -> list[str]:
        return [choice.text for choice in chosen_splits(None, **allowed)]

    assert names(has_batches=False, has_query=False) == ["random"]
    assert names(has_batches=True, has_query=True) == ["random", "batch", "query"]


@pytest.mark.parametrize(
    ("splits", "has_query", "told"),
    [
        (["batch"], False, "needs a batch_key with two batches"),
        (["query"], False, "needs a second AnnData"),
        (["random"], True, "query= is read by the split 'query', which splits= does not name"),
        (["random", "random"], False, "splits must name at least one, and each once"),
        ([], False, "splits must name at least one"),
    ],
)
def test_splits_that_cannot_be_are_refused(splits: list[str], has_query: bool, told: str):
    with pytest.raises(ValueError, match=told):
        chosen_splits(splits, has_batches=False, has_query=has_query)


def test_the_default_methods_are_all_that_are_quick():
    assert {method.name for method in METHODS if method.is_slow} == {"scanvi", "scvi"}
    assert set(chosen_methods(None, integrates=True)) == {method for method in METHODS if not method.is_slow}
    assert chosen_methods("all", integrates=True) == METHODS
    assert {method.task for method in chosen_methods("all", integrates=False)} == {"annotation"}


def test_a_name_stands_for_a_method_of_each_task():
    found = [(method.task, method.name) for method in chosen_methods(["genemamba", "pca"], integrates=True)]
    assert found == [("annotation", "genemamba"), ("integration", "genemamba"), ("integration", "pca")]


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        (["forest"], "A method is one of genemamba, bag, .* Got 'forest'"),
        (["l1", "l1"], "methods must name at least one, and each once"),
        (["harmony"], "The method 'harmony' integrates batches. Got no batch_key"),
    ],
)
def test_methods_that_cannot_be_are_refused(methods: list[str], told: str):
    with pytest.raises(ValueError, match=told):
        chosen_methods(methods, integrates=False)


@pytest.mark.usefixtures("unchecked")
def test_seeds_are_a_number_of_them_or_themselves():
    assert chosen_seeds(3) == (0, 1, 2)
    assert chosen_seeds([7, 4]) == (7, 4)
    with pytest.raises(ValueError, match="seeds must be at least 1. Got 0"):
        chosen_seeds(0)
    with pytest.raises(ValueError, match="seeds must name at least one, and each once"):
        chosen_seeds([1, 1])
    with pytest.raises(TypeError, match="A seed must be a whole number. Got 0.5"):
        chosen_seeds([0.5])  # type: ignore[list-item]


def test_arguments_are_kept_if_a_later_call_can_know_them_again():
    kept = {"encoder_config": EncoderConfig(vocab_size=45), "d_model": np.int64(16), "gene_init": None}
    train = {"devices": [0], "plan_kwargs": {"lr": np.float32(0.5)}, "max_epochs": 1}
    assert chosen_options(kept, {**train, "devices": "auto"}, is_kept=True) == Options(
        kept, {**train, "devices": "auto"}
    )
    rows = {
        "datasplitter_kwargs": {"external_indexing": [np.arange(3)]},
        "callbacks": [EarlyStopping("validation_loss")],
    }
    assert chosen_options(None, rows) == Options({}, rows)
    told = (
        r"With folder=, arguments are None, numbers, text, .* again. "
        r"train_kwargs\['datasplitter_kwargs'\]\['external_indexing'\]\[0\] is ndarray; "
        r"train_kwargs\['callbacks'\]\[0\] is EarlyStopping. Write arrays as lists, or leave out folder."
    )
    with pytest.raises(TypeError, match=told):
        chosen_options(None, rows, is_kept=True)


def test_arguments_of_the_model_are_checked_by_name():
    assert chosen_options({"n_layer": 0}, {"max_epochs": 2}) == Options({"n_layer": 0}, {"max_epochs": 2})
    with pytest.raises(TypeError, match=r"model_kwargs are arguments of GeneMambaModel: .* Got \['layers'\]"):
        chosen_options({"layers": 2}, None)
    with pytest.raises(TypeError, match="train\\(\\) has no argument 'epochs'. Did you mean max_epochs"):
        chosen_options(None, {"epochs": 2})
    with pytest.raises(ValueError, match="accelerator and devices must name what this machine has"):
        chosen_options(None, {"accelerator": "abacus"})
