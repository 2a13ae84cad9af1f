"""What check_contamination finds where the truth is known: the same cells in two files, and cells of other studies.

python benchmarks/pretraining/contamination.py

immune_3studies holds cells of three of the other sets, in a file with other genes; their barcodes say which.
"""

import warnings

import numpy as np
from corpus import SETS, published_vocabulary, read_set, tokens_of

from genemamba_sc import ContaminationReport, EncoderConfig, Pretrained, check_contamination
from genemamba_sc.data import CellHashes
from genemamba_sc.nn import BiMambaEncoder

_MAX_LEN = 2048


def weights_of(name: str) -> Pretrained:
    """Untrained weights whose corpus is said to be one set: only the hashes matter here."""
    vocabulary = published_vocabulary()
    config = EncoderConfig(vocab_size=vocabulary.size, d_model=2, n_layer=0)
    tokens = tokens_of(read_set(name), _MAX_LEN)
    cells = CellHashes.from_tokens(tokens, _MAX_LEN, np.zeros(len(tokens.lengths), int), (name,))
    encoder = dict(BiMambaEncoder(config).state_dict())
    return Pretrained(config, encoder, {}, vocabulary, _MAX_LEN, {}, [], name, cells)


def barcode(name: str) -> str:
    return name.rpartition("_")[2]


def main() -> None:
    warnings.simplefilter("ignore")
    print("| corpus | query | cells | in the corpus | exact | near | expected by chance |")
    print("|---|---|---|---|---|---|---|")
    immune = read_set("immune_3studies")
    weights = {name: weights_of(name) for name in SETS}
    for name in SETS[:3]:
        query = immune[immune.obs["batch"] == name].to_memory()
        known = {barcode(cell) for cell in read_set(name).obs_names}
        n_there = sum(barcode(cell) in known for cell in query.obs_names)
        row(name, f"immune_3studies, {name}", check_contamination(query, weights[name]), n_there)
        row(name, name, check_contamination(read_set(name), weights[name]), len(known))
        fewer = read_set(name)[:, ::2].to_memory()
        row(name, f"{name}, every second gene", check_contamination(fewer, weights[name]), len(known))
    others = [(a, b) for a in SETS for b in SETS if a != b and "immune_3studies" not in (a, b)]
    found = [check_contamination(read_set(b), weights[a]) for a, b in others]
    n_cells, n_near, expected = (
        sum(values) for values in zip(*((r.n_cells, r.near.sum(), r.expected_near) for r in found))
    )
    print(
        f"| each of the {len(SETS) - 1} others | each of the others | {n_cells:,} | 0 | "
        f"{sum(int(r.exact.sum()) for r in found)} | {n_near} | {expected:.1f} |"
    )


def row(corpus: str, query: str, report: ContaminationReport, n_there: int) -> None:
    print(
        f"| {corpus} | {query} | {report.n_cells:,} | {n_there:,} | {report.exact_share:.1%} | "
        f"{report.near_share:.1%} | {report.expected_near:.2g} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
