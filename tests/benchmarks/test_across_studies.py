"""What is asked of a target, and the tables that rows become."""

import json
from types import SimpleNamespace

import across_studies
import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from ontology import BROAD, FINE
from pooled_baselines import Choice, best

B, CD4, CD8, T, STEM = "CL:0000236", "CL:0000624", "CL:0000625", "CL:0000084", "CL:0008001"


def cells(broad: list[str], fine: list[str]) -> ad.AnnData:
    return ad.AnnData(obs=pd.DataFrame({BROAD: broad, FINE: fine}, index=[f"c{i}" for i in range(len(fine))]))


def test_types_that_no_reference_has_are_not_asked_and_broad_types_are_parents():
    study = SimpleNamespace(
        query=cells([B, T, T, STEM, T], [B, CD4, CD8, STEM, ""]),
        parts={"a": cells([B, T], [B, CD4]), "b": cells([T], [CD8])},
    )

    fine, broad = across_studies.scored(study, np.array([B, CD8, CD8, B, CD4]))

    assert (fine["level"], fine["n_test"], fine["accuracy"]) == ("fine", 3, 2 / 3)
    assert (broad["level"], broad["n_test"], broad["accuracy"]) == ("broad", 4, 1.0)


def test_the_best_choice_is_the_one_with_the_highest_score():
    assert best({Choice("all", 1.0): 0.5, Choice("wide", 0.1): 0.7, Choice("shared", 0.1): 0.6}) == Choice("wide", 0.1)


def test_scores_of_the_references_are_read_beside_few_labels():
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b"], 50)
    noise = sp.csr_matrix(rng.poisson(1.0, (100, 20)).astype(np.float32))
    study = SimpleNamespace(
        cells=ad.AnnData(noise, obs=pd.DataFrame({"cell_type": labels}, index=map(str, range(100))))
    )
    told, labelled = np.where(labels == "a", 1.0, -1.0)[:, None], np.array([0, 1, 50, 51])

    found = across_studies.stacked_regression(study, noise, told, labelled)
    blind = across_studies.stacked_regression(study, noise, rng.permutation(told), labelled)

    assert (found == labels).mean() == 1.0
    assert (blind == labels).mean() < 0.8


def test_a_run_goes_on_where_it_stopped_and_its_table_has_means(tmp_path):
    scores = {"accuracy": 0.5, "macro_f1": 0.25}
    zero = {"task": "zero-shot", "target": "pbmc3k", "method": "lr", "seed": 0, "chosen": {"kind": "wide"}, **scores}
    few = {"task": "few", "target": "pbmc3k", "method": "lr_alone", "share": 0.01}
    rows = [
        zero | {"level": "fine"},
        zero | {"level": "broad", "accuracy": 1.0},
        few | scores | {"seed": 0},
        few | {"seed": 1, "accuracy": 0.7, "macro_f1": 0.45},
        *({"task": "within", "target": "pbmc3k", "method": name, "accuracy": 0.9} for name in across_studies.ENCODERS),
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    lines = across_studies.table(path).splitlines()

    assert across_studies.keys_of(rows[:4]) == {
        ("pbmc3k", "zero-shot", "lr", 0),
        ("pbmc3k", "few", 0.01, 0),
        ("pbmc3k", "few", 0.01, 1),
    }
    assert "| pbmc3k | lr | 50.0 / 25.0 [1] | 100.0 / 25.0 [1] |" in lines
    assert "| pbmc3k | lr_alone | 60.0 / 35.0 [2] | – | – | – |" in lines
    assert "| pbmc3k | 90.0 | 90.0 | 90.0 | 90.0 |" in lines
