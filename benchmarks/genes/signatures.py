"""Signatures put first in cells: does the model move along a signature if, and only if, the cells have one?

OMP_NUM_THREADS=1 python benchmarks/genes/signatures.py --out benchmarks/genes/results/signatures.md

No cells here were stimulated, so the question is asked of what varies in resting ones. Each set of genes is cut into
two halves at random, A and B. *The data say yes* where A and B vary together in cells that the model has not seen:
their scores correlate more than those of B and of each of 20 sets of genes that are expressed like A. *The model moves*
where putting A first in such cells moves the embedding along B's direction further than each of these 20 sets does. A
score is the mean level of some genes less that of all genes that are in no set. B's direction is the mean of the
training cells in the upper quarter of B's score, less that of the lower quarter; A has no part in it. Beside the model
stand the sum of the moves of the single genes (additive), 50 principal components of the training cells' expression
with the same changes, and no change, which is a move of 0.

Sets: type I interferon signalling (GO:0060337 without HLA genes), and Reactome's with at least ten genes that a
twentieth of the cells have, no two of which share half of their genes: 12 of them at random. At most eight genes of a
half are used. Models are those of trained.py; cells are those of all types, or of the most frequent one.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import rankdata, spearmanr
from sklearn.decomposition import PCA
from trained import LABEL, asked_for, split_set, trained_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from pairs import aliases
from sets import data_folder

import genemamba_sc as gm
from genemamba_sc.data import Tokens, take_tokens
from genemamba_sc.tl.parts import FIRST_GENE_ID, Expression, changed, embedding_of, expression_matrix, pass_through

SETS, SCOPES = ("kang_ctrl", "pbmc3k"), ("all types", "most frequent type")
N_SETS, N_CONTROLS, N_CELLS, MOST_GENES, LEAST_GENES, LEAST_SHARE = 12, 20, 40, 8, 10, 0.05
INTERFERON = "type I interferon signaling pathway (GO:0060337)"
HEAD = (
    "| set | cells | signature | genes | r of the halves | of matched sets | data say | move | of matched sets | p "
    "| p, additive | p, components |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)
View = Callable[[Tokens], np.ndarray]


@dataclass(frozen=True, eq=False)
class Scope:
    """Tokens of training and test cells of one kind, how genes are expressed there, and views of cells."""

    train: Tokens
    test: Tokens
    vocabulary: gm.GeneVocabulary
    expression: Expression
    views: dict[str, View]

    def score(self, tokens: Tokens, genes: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Mean level of the genes, less that of the others."""
        levels = expression_matrix(tokens, self.vocabulary)
        return np.asarray(levels[:, genes].mean(axis=1) - levels[:, others].mean(axis=1)).ravel()

    def direction(self, view: View, genes: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Where the upper quarter of a score lies from the lower one in the training cells, as a unit vector."""
        place = rankdata(self.score(self.train, genes, others), method="ordinal") / len(self.train.lengths)
        cells = view(self.train)
        away = cells[place > 0.75].mean(axis=0) - cells[place <= 0.25].mean(axis=0)
        return away / np.linalg.norm(away)


def views(model: gm.GeneMambaModel, train: Tokens) -> dict[str, View]:
    """The embedding, and principal components of the expression."""
    levels = expression_matrix(train, model.vocabulary).toarray()
    axes = PCA(50, random_state=0, svd_solver="randomized").fit(levels)
    return {
        "model": lambda tokens: pass_through(model.module, tokens, embedding_of, model.module.encoder_config.d_model),
        "components": lambda tokens: axes.transform(expression_matrix(tokens, model.vocabulary).toarray()),
    }


def signatures(vocabulary: gm.GeneVocabulary, often: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Genes of each signature, of those that many cells have."""
    folder, rng = data_folder() / "genes", np.random.default_rng(seed)
    read = {"aliases": aliases(), "min_genes": LEAST_GENES}
    ontology = gm.PathwaySet.from_gmt(folder / "go_biological_process_2021.gmt", vocabulary, **read)
    interferon = ontology.members[ontology.names.index(INTERFERON)]
    is_hla = np.array([vocabulary.symbols[token - FIRST_GENE_ID].startswith("HLA-") for token in interferon])
    found = {INTERFERON: np.intersect1d(interferon[~is_hla], often)}
    pathways = gm.PathwaySet.from_gmt(folder / "reactome_2016.gmt", vocabulary, **read)
    for number in rng.permutation(len(pathways.names)):
        genes = np.intersect1d(pathways.members[number], often)
        shared = max(len(np.intersect1d(genes, known)) / max(1, len(genes)) for known in found.values())
        if len(genes) >= LEAST_GENES and shared < 0.5 and len(found) <= N_SETS:
            found[pathways.names[number]] = genes
    return found


def mean_move(view: View, cells: Tokens, genes: np.ndarray) -> np.ndarray:
    """Mean move of cells when genes are put first."""
    return (view(changed(cells, genes, "top")) - view(cells)).mean(axis=0)


def compare(own: float, others: np.ndarray) -> tuple[float, float]:
    """P-value of the largest, and distance in standard deviations."""
    return (1 + (others >= own).sum()) / (1 + len(others)), (own - others.mean()) / others.std()


def judge(scope: Scope, genes: np.ndarray, often: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """What the data and what each view say of one signature."""
    halves = np.array_split(rng.permutation(genes), 2)
    a, b = (np.sort(half[:MOST_GENES]) for half in halves)
    # No gene of the signature is a control.
    matched = scope.expression.matched_sets(genes, N_CONTROLS)
    of_a, others = matched[:, np.searchsorted(genes, a)], np.setdiff1d(often, np.union1d(genes, matched))
    score_b = scope.score(scope.test, b, others)
    r = [np.corrcoef(scope.score(scope.test, x, others), score_b)[0, 1] for x in (a, *of_a)]
    found = {"n": len(a), "r": r[0], "r_matched": np.mean(r[1:])}
    found["p_data"], found["z_data"] = compare(r[0], np.array(r[1:]))
    cells = take_tokens(scope.test, rng.permutation(len(scope.test.lengths))[:N_CELLS])
    for name, view in scope.views.items():
        along = scope.direction(view, b, others)
        moves = np.array([mean_move(view, cells, x) @ along for x in (a, *of_a)])
        found[name], found[f"{name}_matched"] = moves[0], moves[1:].mean()
        found[f"p_{name}"], found[f"z_{name}"] = compare(moves[0], moves[1:])
        if name == "model":
            single = {g: mean_move(view, cells, np.array([g])) @ along for g in np.unique([a, *of_a])}
            sums = np.array([sum(single[g] for g in x) for x in (a, *of_a)])
            found["p_additive"], found["z_additive"] = compare(sums[0], sums[1:])
    return found


def scopes_of(name: str, most: int, seed: int, work: Path) -> Iterator[tuple[str, Scope]]:
    train, test = split_set(name, most, seed)
    model = trained_model(name, train, seed, work, most)
    kinds = [cells.obs[LABEL].astype(str).to_numpy() for cells in (train, test)]
    frequent = max(set(kinds[0]), key=list(kinds[0]).count)
    tokens = [model._source(cells).tokens(np.arange(cells.n_obs)) for cells in (train, test)]
    for scope in SCOPES:
        rows = [np.flatnonzero((kind == frequent) | (scope == SCOPES[0])) for kind in kinds]
        part, other = (take_tokens(cells, row) for cells, row in zip(tokens, rows))
        expression = Expression.empty(1, model.vocabulary.size)
        expression.add(part, np.zeros(len(part.lengths), np.int64), model.vocabulary)
        yield scope, Scope(part, other, model.vocabulary, expression, views(model, part))


def rows_of(name: str, most: int, seed: int, work: Path) -> Iterator[tuple[list[str], str]]:
    """A row for each signature, and what they say together."""
    for number, (label, scope) in enumerate(scopes_of(name, most, seed, work)):
        often = np.flatnonzero(scope.expression.counts[0] >= LEAST_SHARE * len(scope.train.lengths))
        often = often[often >= FIRST_GENE_ID]
        rng, rows, judged = np.random.default_rng([seed, number]), [], []
        for signature, genes in signatures(scope.vocabulary, often, seed).items():
            if len(genes) < 6:
                rows.append(f"| {name} | {label} | {signature} | {len(genes)} | too few genes | | | | | | | |")
                continue
            found = judge(scope, genes, often, rng)
            judged.append(found)
            says = "yes" if found["p_data"] < 0.05 else "no"
            rows.append(
                f"| {name} | {label} | {signature} | {found['n']} | {found['r']:.2f} | {found['r_matched']:.2f} "
                f"| {says} | {found['model']:.2f} | {found['model_matched']:.2f} | {found['p_model']:.2f} "
                f"| {found['p_additive']:.2f} | {found['p_components']:.2f} |"
            )
            print(rows[-1], flush=True)
        yield rows, summary(name, label, judged)


def summary(name: str, label: str, judged: list[dict[str, float]]) -> str:
    table = {key: np.array([found[key] for found in judged]) for key in judged[0]}
    yes = table["p_data"] < 0.05
    cells = []
    for view in ("model", "additive", "components"):
        moved = table[f"p_{view}"] < 0.05
        rank = spearmanr(table["z_data"], table[f"z_{view}"]).statistic
        cells.append(f"{(moved & yes).sum()} of {yes.sum()} | {(moved & ~yes).sum()} of {(~yes).sum()} | {rank:.2f}")
    return f"| {name} | {label} | {' | '.join(cells)} |"


def main() -> None:
    arguments = asked_for(__doc__, SETS)
    warnings.simplefilter("ignore")
    rows, sums = [HEAD], [
        "| set | cells | model, data yes | model, data no | rank correlation | additive, data yes | additive, data no "
        "| rank correlation | components, data yes | components, data no | rank correlation |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in arguments.sets.split(","):
        for found, line in rows_of(name, arguments.cells, arguments.seed, arguments.work):
            rows, sums = [*rows, *found], [*sums, line]
    text = [
        "# Signatures put first in cells", "",
        f"One seed ({arguments.seed}), {N_CONTROLS} matched sets, {N_CELLS} cells.", "",
        "Moves with p < .05, of the signatures of which the data say yes or no, and the rank correlation over",
        "signatures of how far data and move stand out from matched sets (in standard deviations):", "",
        *sums, "", *rows, "",
    ]  # fmt: skip
    arguments.out.write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
