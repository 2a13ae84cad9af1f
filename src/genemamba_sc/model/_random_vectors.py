"""Compare embeddings with sums of random gene vectors, without labels: half of the genes foretell the other half.

The genes are divided at random into two halves, and each cell is embedded twice, by its genes of one half and of the
other. An embedding that knows which genes go together tells from one half what the other half of the same cell is like.
Random gene vectors keep the distances between cells (Johnson and Lindenstrauss, 1984), and know nothing else. How many
genes each half has tells of the other half, too, so that is removed from everything first.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import sparse

from genemamba_sc.data import GeneVocabulary, Tokens
from genemamba_sc.data.tokens._token_parts import visible_part
from genemamba_sc.training._markers import expression_matrix

Verdict = Literal["better", "no better", "collapsed", "cannot tell"]
Embed = Callable[[Tokens], np.ndarray]

FEWEST_CELLS = 60
# Directions of the embedding that foretell, and components of expression that are foretold.
_N_DIRECTIONS, _N_COMPONENTS = 30, 20
_N_FOLDS = 5
_RIDGE = 0.01
# Below this spread, relative to the mean, float32 leaves few digits of what tells cells apart.
_LEAST_SPREAD = 1e-5
# An embedding beyond these of its random counterparts is better, whatever else; short of them, it is worse.
_CLEARLY = 3.0
# Between the two, halves of a cell must find each other: those of random or shuffled weights do in up to .67.
_RECOGNISED = 0.75


@dataclass(frozen=True, eq=False)
class RandomComparison:
    """Tell whether an embedding knows more of cells than sums of random gene vectors do.

    Parameters
    ----------
    n_cells, width
        Number of cells, and of dimensions of all embeddings.
    foretold
        Share of the variance of the expression of one half of the genes (20 principal components, cells not used in the
        fit) that the embedding of the other half foretells, beyond the numbers of genes; at most 1.
    foretold_random
        The same of random gene vectors, one value a draw, shape (n_draws,).
    foretold_expression
        The same of the expression itself, by its 20 principal components.
    recognised
        How often a half of a cell is more like the other half of this cell than that of another one; .5 is chance.
    recognised_random
        The same of random gene vectors, shape (n_draws,).
    dimensions
        Participation ratio of the covariance of the embedding: 1 where all cells lie on a line.
    cosine
        Mean cosine between two cells; near 1 the embeddings share a large mean, which alone is no fault.
    spread
        Standard deviation over the cells, relative to the size of their mean.
    """

    n_cells: int
    width: int
    foretold: float
    foretold_random: Float[np.ndarray, "n_draws"]
    foretold_expression: float
    recognised: float
    recognised_random: Float[np.ndarray, "n_draws"]
    dimensions: float
    cosine: float
    spread: float

    @property
    def verdict(self) -> Verdict:
        """Whether the embedding is better than random vectors, no better, or the same for every cell.

        ``"cannot tell"`` where not even expression foretells the other half: cells of one type, or few genes.
        """
        if not self.spread > _LEAST_SPREAD:
            return "collapsed"
        if self.foretold_expression <= 0:
            return "cannot tell"
        mean, deviation = self.foretold_random.mean(), self.foretold_random.std(ddof=1)
        if abs(self.foretold - mean) > _CLEARLY * deviation:
            return "better" if self.foretold > mean else "no better"
        return "better" if self.recognised > _RECOGNISED else "no better"

    def to_frame(self) -> pd.DataFrame:
        """Return a row for the weights, for random vectors (mean and standard deviation) and for expression."""
        random = (self.foretold_random, self.recognised_random)
        rows = {
            "weights": (self.foretold, np.nan, self.recognised, np.nan),
            "random gene vectors": tuple(f(x) for x in random for f in (np.mean, _deviation)),
            "expression": (self.foretold_expression, np.nan, np.nan, np.nan),
        }
        columns = ["foretold", "foretold_sd", "recognised", "recognised_sd"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns).astype(float)

    def __str__(self) -> str:
        random, by_chance = self.foretold_random, self.recognised_random
        return "\n".join([
            f"one half of the genes foretells the other, in {self.n_cells} cells (no labels are read):",
            f"  these weights        {self.foretold:6.3f} of its variance; halves recognised {self.recognised:.3f}",
            f"  random gene vectors  {random.mean():6.3f} ± {_deviation(random):.3f}; halves recognised "
            f"{by_chance.mean():.3f} ± {_deviation(by_chance):.3f} ({len(random)} draws of width {self.width})",
            f"  expression           {self.foretold_expression:6.3f}",
            f"  {self.dimensions:.1f} effective dimensions, spread {self.spread:.2g} of the mean, cosine between cells "
            f"{self.cosine:.3f}",
            f"  {_MEANING[self.verdict]}.",
        ])  # fmt: skip


_MEANING: dict[Verdict, str] = {
    "better": "Better than random gene vectors",
    "no better": "NO BETTER THAN RANDOM GENE VECTORS: the weights bring nothing that the genes of a cell do not say",
    "collapsed": "COLLAPSED: all cells have nearly the same embedding",
    "cannot tell": "These cells cannot tell: not even expression foretells one half of their genes by the other",
}


def compare_with_random(
    embed: Embed, tokens: Tokens, vocabulary: GeneVocabulary, *, n_draws: int = 8, seed: int = 0
) -> RandomComparison | None:
    """Compare an embedding with random gene vectors of its width, on the same halves of the same cells.

    Parameters
    ----------
    embed
        Makes embeddings (n, d) of the tokens of n cells.
    tokens
        Tokens of at least 60 cells that have genes in both halves; others are left out.
    vocabulary
        The genes of the tokens.
    n_draws
        How many tables of random gene vectors are drawn.
    seed
        Seed of the halves and of the vectors.

    Returns
    -------
    The comparison; ``None`` where there are fewer cells.

    Raises
    ------
    ValueError
        If an embedding is not finite.
    """
    rng = np.random.default_rng(seed)
    halves = _halves(tokens, rng.random(vocabulary.size) < 0.5)
    n_cells = len(halves[0].lengths)
    if n_cells < FEWEST_CELLS:
        return None
    levels = [expression_matrix(half, vocabulary) for half in halves]
    size = _sizes(halves)
    parts = [_beyond(size, _components(level.astype(np.float64), _N_COMPONENTS)) for level in levels]
    raw = [_finite(embed(half)) for half in halves]
    own = [_beyond(size, cells) for cells in raw]
    width = own[0].shape[1]
    random = [rng.standard_normal((vocabulary.size, width)).astype(np.float32) for _ in range(n_draws)]
    drawn = [[_beyond(size, np.asarray(level @ vectors, np.float64)) for level in levels] for vectors in random]
    return RandomComparison(
        n_cells=n_cells,
        width=width,
        foretold=_foretold(own, parts),
        foretold_random=np.array([_foretold(pair, parts) for pair in drawn]),
        foretold_expression=_foretold(parts, parts),
        recognised=_recognised(own),
        recognised_random=np.array([_recognised(pair) for pair in drawn]),
        dimensions=_participation(raw[0]),
        cosine=_mean_cosine(raw[0]),
        spread=_spread(raw[0]),
    )


def _halves(tokens: Tokens, first: np.ndarray) -> list[Tokens]:
    """Divide the genes, and leave out cells that have none in one of the parts."""
    halves = [visible_part(tokens, first[tokens.ids] == chosen) for chosen in (True, False)]
    able = (halves[0].lengths > 0) & (halves[1].lengths > 0)
    return [Tokens(half.ids[able], half.values[able], half.lengths[able]) for half in halves]


def _finite(cells: np.ndarray) -> np.ndarray:
    broken = int((~np.isfinite(cells).all(axis=1)).sum())
    if broken:
        raise ValueError(
            f"Every cell must get finite numbers. {broken} of {len(cells)} cells have none: the weights are damaged. "
            "Copy them again, or ask whoever made them."
        )
    return np.asarray(cells, dtype=np.float64)


def _sizes(halves: list[Tokens]) -> np.ndarray:
    """How many genes each half of a cell has, and the logarithms of that, (n, 4)."""
    lengths = np.stack([half.lengths for half in halves], axis=1).astype(np.float64)
    return np.concatenate([lengths, np.log(lengths)], axis=1)


def _beyond(size: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Remove the mean and what is linear in the size of the cells: both halves of a deep cell are deep."""
    centred = size - size.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=0).clip(1e-12)
    axes, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:, lengths > 1e-6]  # cells of one size, or halves that add up to one, leave fewer
    x = x - x.mean(axis=0)
    return x - axes @ (axes.T @ x)


def _foretold(features: list[np.ndarray], targets: list[np.ndarray]) -> float:
    """Mean over both directions of what one half tells of the other."""
    return (_explained(features[0], targets[1]) + _explained(features[1], targets[0])) / 2


def _explained(features: np.ndarray, target: np.ndarray) -> float:
    """Compute the share of variance that ridge regression explains in cells left out of the fit."""
    x = _components(_unit(features), min(_N_DIRECTIONS, len(features) // 6))
    x /= max(float(np.sqrt((x**2).sum(axis=1).mean())), 1e-12)
    fold, errors, total = np.arange(len(x)) % _N_FOLDS, 0.0, 0.0
    for k in range(_N_FOLDS):
        fit, left = fold != k, fold == k
        x_mean, y_mean = x[fit].mean(axis=0), target[fit].mean(axis=0)
        centred = x[fit] - x_mean
        gram = centred.T @ centred + _RIDGE * fit.sum() / x.shape[1] * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, centred.T @ (target[fit] - y_mean))
        rest = target[left] - y_mean
        errors += float(((rest - (x[left] - x_mean) @ weights) ** 2).sum())
        total += float((rest**2).sum())
    return 1 - errors / max(total, 1e-12)


def _recognised(halves: list[np.ndarray]) -> float:
    similarity = _unit(halves[0]) @ _unit(halves[1]).T
    own = np.diag(similarity)
    lower, equal = similarity < own[:, None], similarity == own[:, None]
    # A cell is equal to itself, which is not counted; ties count half.
    return float((lower.sum(axis=1) + 0.5 * (equal.sum(axis=1) - 1)).mean() / (len(own) - 1))


def _components(x: np.ndarray | sparse.csr_array, n: int) -> np.ndarray:
    """Principal components of the rows, (n, k), from their inner products: there are few rows and many genes."""
    products = x @ x.T
    products = products if isinstance(products, np.ndarray) else products.toarray()
    products = products - products.mean(axis=0)
    products -= products.mean(axis=1, keepdims=True)
    squares, vectors = np.linalg.eigh(products)
    return vectors[:, ::-1][:, :n] * np.sqrt(squares[::-1][:n].clip(0))


def _unit(x: np.ndarray) -> np.ndarray:
    """Centre the rows on their mean, and give each the length 1."""
    x = x - x.mean(axis=0)
    return x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12)


def _participation(x: np.ndarray) -> float:
    variances = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
    return float(variances.sum() ** 2 / max((variances**2).sum(), 1e-300))


def _mean_cosine(x: np.ndarray) -> float:
    unit, n = x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12), len(x)
    return float((np.square(unit.sum(axis=0)).sum() - n) / (n * (n - 1)))


def _spread(x: np.ndarray) -> float:
    return float(np.sqrt(x.var(axis=0).sum()) / max(np.linalg.norm(x.mean(axis=0)), 1e-12))


def _deviation(x: np.ndarray) -> float:
    return float(x.std(ddof=1))
