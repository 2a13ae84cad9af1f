"""How often from_pretrained doubts weights that are good, and weights that are not, on real cells.

python benchmarks/robustness/random_vectors.py --out benchmarks/robustness/results/random_vectors.md

Each set of cells is drawn `--draws` times, 200 cells a time; `checkpoint_report` asks of each draw what
`from_pretrained` asks, which is called once per row, for its seconds, and must say the same. `mini` must never be
doubted; it has seen these sets, unlabelled. Damage is done to `mini`: rows of the gene table in another order, the
table or the layers as they are drawn at the start (what a silent mismatch of names leaves), or both; one vector for all
genes; and a table times 10, which is no damage, because its sums are normed.
"""

import argparse
import dataclasses
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata as ad
import torch

import genemamba_sc as gm
from genemamba_sc.nn import BiMambaEncoder

SETS = (
    "pbmc3k", "zheng_sorted", "kang_ctrl", "immune_3studies", "cell_lines", "onek1k", "pbmc_chemistries", "pbmc_frozen",
    "pbmc_lanes", "dendritic_lognorm",
)  # fmt: skip
N_CELLS = 200
TABLE, NORM = "embeddings.weight", "norm_f.weight"
Tensors = dict[str, torch.Tensor]


def fresh(seed: int, good: gm.Pretrained) -> Tensors:
    torch.manual_seed(seed)
    return dict(BiMambaEncoder(good.encoder_config).state_dict())


def shuffled(seed: int, good: gm.Pretrained) -> Tensors:
    table = good.encoder[TABLE]
    return {**good.encoder, TABLE: table[torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))]}


# What is done to the weights, and whether it must be told.
STATES: dict[str, tuple[Callable[[int, gm.Pretrained], Tensors], bool]] = {
    "mini as it is": (lambda seed, good: good.encoder, False),
    "rows of the table in another order": (shuffled, True),
    "table not loaded": (lambda seed, good: {**good.encoder, TABLE: fresh(seed, good)[TABLE]}, True),
    "nothing loaded": (fresh, True),
    "one vector for all genes": (
        lambda seed, good: {**good.encoder, TABLE: good.encoder[TABLE][:1].expand_as(good.encoder[TABLE]).clone()},
        True,
    ),
    "layers not loaded": (lambda seed, good: {**fresh(seed, good), TABLE: good.encoder[TABLE]}, True),
    "table times 10": (lambda seed, good: {**good.encoder, TABLE: 10 * good.encoder[TABLE]}, False),
}


def cells_of(name: str) -> ad.AnnData:
    folder = Path(os.environ.get("GENEMAMBA_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    return ad.read_h5ad(folder / "cells" / f"{name}.h5ad")


def is_doubted(folder: Path, cells: ad.AnnData) -> tuple[bool, float]:
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gm.GeneMambaModel.from_pretrained(folder, cells, accelerator="cpu")
    return any("random gene vectors" in str(warning.message) for warning in caught), time.perf_counter() - start


def measure(names: list[str], folder: Path, n_draws: int, n_states: int) -> Iterator[str]:
    good = gm.read_pretrained("mini")
    states = dict(list(STATES.items())[:n_states])
    doubted: dict[str, list[bool]] = {state: [] for state in states}
    yield "| set | state | doubted | foretold, lowest to highest | random gene vectors | halves recognised | s |"
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        adata = cells_of(name)
        gm.GeneMambaModel.setup_anndata(adata)
        for state, (change, _) in states.items():
            rows, told, took = [], [], 0.0
            for seed in range(n_draws):
                gm.write_pretrained(folder / "w", dataclasses.replace(good, encoder=change(seed, good)), overwrite=True)
                found = gm.checkpoint_report(folder / "w", adata, n_compared=N_CELLS, seed=seed).random
                rows.append(found)
                told.append(found.verdict != "better")
                if not seed:
                    doubt, took = is_doubted(folder / "w", adata)
                    assert doubt == told[0], "from_pretrained says something else than checkpoint_report"
            doubted[state] += told
            foretold, random, same = (
                [f.foretold for f in rows], [f.foretold_random.mean() for f in rows], [f.recognised for f in rows],
            )  # fmt: skip
            yield (
                f"| {name} | {state} | {sum(told)} of {len(told)} | {min(foretold):.2f} to {max(foretold):.2f} | "
                f"{min(random):.2f} to {max(random):.2f} | {min(same):.2f} to {max(same):.2f} | {took:.1f} |"
            )
    yield ""
    yield "| state | should be doubted | is doubted |"
    yield "|---|---|---|"
    for state, (_, must) in states.items():
        yield f"| {state} | {'yes' if must else 'no'} | {sum(doubted[state])} of {len(doubted[state])} |"


def types(names: list[str], folder: Path) -> Iterator[str]:
    """Cell types of 300 labelled cells: mini, damaged weights, random gene vectors and expression."""
    good = gm.read_pretrained("mini")
    gm.write_pretrained(folder / "shuffled", dataclasses.replace(good, encoder=shuffled(0, good)))
    yield ""
    yield "| set | left out | mini | rows in another order | random gene vectors | expression |"
    yield "|---|---|---|---|---|---|"
    for name in names:
        adata = cells_of(name)
        if "cell_type" not in adata.obs or adata.obs["cell_type"].nunique() < 2:
            continue
        many = 1 < adata.obs["batch"].nunique() <= 10
        named = {"labels_key": "cell_type", "batch_key": "batch" if many else None}
        mini, bad = (gm.checkpoint_report(w, adata, **named).types for w in ("mini", folder / "shuffled"))
        yield (
            f"| {name} | {mini.split} | {mini.weights:.3f} | {bad.weights:.3f} | {mini.random.mean():.3f} ± "
            f"{mini.random.std(ddof=1):.3f} | {mini.expression:.3f} |"
        )


def large(folder: Path) -> Iterator[str]:
    """The published shape, untrained, in a folder of 263 MB: how long a model of that size takes to be doubted."""
    good = gm.read_pretrained("mini")
    config = dataclasses.replace(gm.EncoderConfig.published(), vocab_size=good.vocabulary.size)
    torch.manual_seed(0)
    encoder = dict(BiMambaEncoder(config).state_dict())
    gm.write_pretrained(folder / "large", gm.Pretrained(config, encoder, {}, good.vocabulary, 2048, {}, [], "large"))
    cells = cells_of("pbmc3k")[:300].to_memory()
    gm.GeneMambaModel.setup_anndata(cells)
    doubt, seconds = is_doubted(folder / "large", cells)
    yield ""
    yield (
        f"24 layers of width 512, untrained, on {torch.get_num_threads()} thread(s): "
        f"{'doubted' if doubt else 'NOT doubted'} after {seconds:.1f} s, reading the weights included."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--states", type=int, default=len(STATES), help="so many of the states; 1 is mini as it is")
    parser.add_argument("--parts", default="measure,types,large")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = ["# Weights beside random gene vectors", "", "`python benchmarks/robustness/random_vectors.py`", ""]
    names = arguments.sets.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        parts = {
            "measure": measure(names, Path(temporary), arguments.draws, arguments.states),
            "types": types(names, Path(temporary)),
            "large": large(Path(temporary)),
        }
        for part in arguments.parts.split(","):
            for line in parts[part]:
                print(line, flush=True)
                lines.append(line)
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
