"""Choose the recipe of `supervised.py` on a set that is no target: cells of `pbmc_chemistries` that authors annotated.

    python benchmarks/annotation/supervised_choices.py --start runs/without_pbmc_chemistries \\
        --recipes '{"as it is": {}, "no contrast": {"contrast": 0}, "bag": {"n_layer": 0}}'

Prints a line for each recipe: accuracy / macro-F1 of the head at both levels, of 15 neighbours among references, and
of a regression on the embedding with 1 % of the labels. No cell of the set is read in training.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from ontology import BROAD, FINE, UNKNOWN, harmonised, parents
from sklearn.neighbors import KNeighborsClassifier
from supervised import NO_TYPE, Recipe, labelled, train, without_layers

from genemamba_sc import read_pretrained
from genemamba_sc.benchmark import accuracy, macro_f1
from genemamba_sc.data import query_source

# supervised put the folder of the pretraining scripts on the path.
from objectives import embed  # isort: skip
from probes import NEIGHBOURS, probe  # isort: skip

SET = "pbmc_chemistries"


def score(truth: np.ndarray, found: np.ndarray) -> str:
    known = truth != UNKNOWN
    return f"{100 * accuracy(truth[known], found[known]):.1f} / {100 * macro_f1(truth[known], found[known]):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--recipes", type=json.loads, required=True, help="JSON: name -> fields of Recipe, n_layer")
    options = parser.parse_args()
    start, query = read_pretrained(options.start), harmonised(SET)
    query = query[(query.obs["author_cluster_label"].astype(str) != "NA").to_numpy()].copy()
    fine, broad = (query.obs[level].to_numpy().astype(str) for level in (FINE, BROAD))
    tokens = query_source(query, start.vocabulary, start.max_len, {}).tokens(np.arange(query.n_obs))
    print("| recipe | head, fine | head, broad | neighbours, fine | probe, 1 % | seconds |\n" + "|---" * 6 + "|")
    for name, given in options.recipes.items():
        started = time.perf_counter()
        recipe = Recipe(**{key: value for key, value in given.items() if key != "n_layer"})
        found = start if given.get("n_layer", 1) else without_layers(start)
        cells, names = labelled(SET, found.vocabulary, found.max_len, recipe)
        encoder, head = train(found, cells, names, recipe)
        seconds = time.perf_counter() - started
        z, known = embed(encoder, tokens), (cells.fine != NO_TYPE).numpy()
        weight, bias = (value.detach().numpy() for value in (head.linear.weight, head.linear.bias))
        by_head = np.array(head.fine)[(z @ weight.T + bias).argmax(axis=1)]
        nearest = KNeighborsClassifier(NEIGHBOURS).fit(embed(encoder, cells.tokens)[known], cells.fine[known].numpy())
        by_neighbours = np.array(head.fine)[nearest.predict(z)]
        few, few_f1 = probe(z[fine != UNKNOWN], fine[fine != UNKNOWN], 0.01)
        broader = np.array([parents()[kind] for kind in by_head])
        scores = [score(fine, by_head), score(broad, broader), score(fine, by_neighbours)]
        scores += [f"{100 * few:.1f} / {100 * few_f1:.1f}", f"{seconds:.0f}"]
        print(f"| {name} | " + " | ".join(scores) + " |", flush=True)


if __name__ == "__main__":
    main()
