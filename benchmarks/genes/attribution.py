"""Attributions on cells that the model has not seen: the deletion test, the permuted labels, what the sums miss.

OMP_NUM_THREADS=1 python benchmarks/genes/attribution.py --out benchmarks/genes/results/attribution.md

The models are those of reconstruction.py. Of the unseen cells 30 are attributed, and their genes deleted, the highest
first, in several orders; a number is how far the mean score falls, averaged over the shares from 0 to a half that are
gone.
"""

import numpy as np
from trained import asked_for, split_set, trained_model

import genemamba_sc as gm

SETS = ("pbmc3k", "zheng_sorted", "kang_ctrl")
N_CELLS = 30
ORDERS = ("attribution", "permuted labels", "expression", "random")


def row(name: str, found: gm.tl.Attribution, target: str) -> str:
    fall = found.mean_fall
    falls = " | ".join(f"{fall[order]:.3f}" for order in ORDERS)
    gap = "-" if np.isnan(found.gap).all() else f"{found.gap.max():.1e}"
    return f"| {name} | {target} | {found.method} | {falls} | {'yes' if found.passes else 'no'} | {gap} |"


def main() -> None:
    arguments = asked_for(__doc__, SETS)
    table = [
        f"| set | target | method | {' | '.join(ORDERS)} | passes | largest gap of a sum |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in arguments.sets.split(","):
        train, test = split_set(name, arguments.cells, arguments.seed)
        model = trained_model(name, train, arguments.seed, arguments.work, arguments.cells)
        rows = np.sort(np.random.default_rng(arguments.seed).permutation(test.n_obs)[:N_CELLS])
        for target in ("cell_type", "embedding"):
            for method in ("integrated_gradients", "occlusion"):
                found = gm.tl.attribute(model, test, target=target, method=method, indices=rows, seed=arguments.seed)
                table.append(row(name, found, target))
                print(table[-1], flush=True)
    text = ["# Attributions: how far a score falls when genes are deleted", "", *table, ""]
    arguments.out.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
