"""The tables of a small results file, whole."""

import json

import pytest
import table


def row(name, split, held_out, seed, method, accuracy, macro_f1, knn=None):
    found = {"set": name, "split": split, "held_out": held_out, "seed": seed, "method": method}
    found |= {"accuracy": accuracy, "macro_f1": macro_f1}
    return found if knn is None else found | {"embedding": {"knn_accuracy": knn[0], "knn_macro_f1": knn[1]}}


ROWS = [
    row("pbmc3k", "stratified", "", 0, "genemamba", 0.90, 0.88, (0.85, 0.80)),
    row("pbmc3k", "stratified", "", 1, "genemamba", 0.92, 0.90, (0.87, 0.82)),
    row("pbmc3k", "stratified", "", 0, "bag", 0.89, 0.85, (0.84, 0.81)),
    row("pbmc3k", "stratified", "", 0, "lr_l2", 0.91, 0.895),
    row("pbmc3k", "stratified", "", 1, "lr_l2", 0.91, 0.895),
    row("immune_3studies", "batch", "pbmc3k", 0, "genemamba", 0.80, 0.70),
    row("immune_3studies", "batch", "pbmc3k", 1, "genemamba", 0.82, 0.72),
    row("immune_3studies", "batch", "kang_ctrl", 0, "genemamba", 0.91, 0.81),
    row("immune_3studies", "batch", "pbmc3k", 0, "lr_l2", 0.84, 0.69),
    row("immune_3studies", "batch", "kang_ctrl", 0, "lr_l2", 0.90, 0.79),
]


def before(name, split, held_out, method, accuracy, macro_f1, n):
    found = {"set": name, "split": split, "held_out": held_out, "method": method, "n_splits": n}
    return found | {"accuracy": accuracy, "accuracy_sd": None, "macro_f1": macro_f1, "macro_f1_sd": None}


RECORDED = [
    before("pbmc3k", "stratified", "", "scanvi", 92.5, 80.0, 3),
    before("immune_3studies", "batch", "", "l1", 87.0, 60.0, 3),
    before("immune_3studies", "batch", "pbmc3k", "l1", 85.0, 60.0, 1),
]

EXPECTED = """\
### Annotation: accuracy / macro-F1 in %, mean ± sd over seeds (stratified) or over held-out batches (means of seeds)

`*` recorded before; `[n]` fewer splits than other methods.

| set | split | genemamba | bag | lr_l2 | best baseline | genemamba − best |
|---|---|---|---|---|---|---|
| pbmc3k | stratified | 91.0±1.4 / 89.0±1.4 | 89.0 / 85.0 [1] | 91.0±0.0 / 89.5±0.0 | 92.5 (scanvi*) / 89.5 (lr_l2) | -1.5 / -0.5 |
| immune_3studies | batch | 86.0±7.1 / 76.0±7.1 | – | 87.0±4.2 / 74.0±7.1 | 87.0 (l1*) / 74.0 (lr_l2) | -1.0 / +2.0 |

Accuracy: genemamba within 1.5 points of the best baseline on 2 of 2, above it on 0 of 2.
Macro-F1: genemamba within 1.5 points of the best baseline on 2 of 2, above it on 1 of 2.

### immune_3studies by held-out study: accuracy / macro-F1 in %, mean ± sd over seeds

| held out | genemamba | lr_l2 | best baseline | genemamba − best |
|---|---|---|---|---|
| pbmc3k | 81.0±1.4 / 71.0±1.4 | 84.0 / 69.0 | 85.0 (l1*) / 69.0 (lr_l2) | -4.0 / +2.0 |
| kang_ctrl | 91.0 / 81.0 | 90.0 / 79.0 | 90.0 (lr_l2) / 79.0 (lr_l2) | +1.0 / +2.0 |

Accuracy: genemamba within 1.5 points of the best baseline on 1 of 2, above it on 1 of 2.
Macro-F1: genemamba within 1.5 points of the best baseline on 2 of 2, above it on 2 of 2.

### Embeddings: kNN probe (k = 15 on the training cells), accuracy / macro-F1 in %

| set | split | genemamba | bag |
|---|---|---|---|
| pbmc3k | stratified | 86.0±1.4 / 81.0±1.4 | 84.0 / 81.0 [1] |
"""  # noqa: E501 - lines of a table


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "recorded.json"
    path.write_text(json.dumps({"provenance": "made here", "rows": RECORDED}), encoding="utf-8")
    return path


def test_the_report_of_a_small_file_is_the_expected_one(recorded):
    assert table.report(ROWS, recorded) == EXPECTED


def test_the_order_of_the_lines_of_the_file_does_not_matter(recorded):
    assert table.report(ROWS[::-1], recorded) == EXPECTED


def test_a_report_without_genemamba_names_the_best_baseline_and_compares_nothing(recorded):
    text = table.report([line for line in ROWS if line["method"] == "lr_l2"], recorded)
    assert "| pbmc3k | stratified | 91.0±0.0 / 89.5±0.0 | 92.5 (scanvi*) / 89.5 (lr_l2) | – / – |" in text
    assert "within 1.5 points of the best baseline on 0 of 0" in text


def test_the_recorded_figures_are_complete_and_plausible():
    found = json.loads(table.RECORDED.read_text(encoding="utf-8"))
    keys = {"set", "split", "held_out", "method", "n_splits"}
    keys |= {f"{metric}{end}" for metric in table.METRICS for end in ("", "_sd")}
    assert {frozenset(line) for line in found["rows"]} == {frozenset(keys)}
    assert all(60 < line["macro_f1"] <= line["accuracy"] + 2 < 102 for line in found["rows"])
    named = {(line["set"], line["split"]) for line in found["rows"]}
    assert named == set(table.ROWS)
    kept = table.recorded(table.RECORDED)["pbmc3k", "stratified"]["lr_hvg*"]
    assert kept == {"accuracy": table.Score(90.9, 0.7, 3), "macro_f1": table.Score(92.3, 2.2, 3)}
