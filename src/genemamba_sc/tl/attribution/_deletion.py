"""Test whether attributed genes carry a score: take them out, the highest first, and see how fast the score falls."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.integrate import trapezoid

from genemamba_sc.data import Tokens
from genemamba_sc.data.tokens._token_parts import real_positions, visible_part
from genemamba_sc.model import GeneMambaModule
from genemamba_sc.tl.attribution._targets import Target

# Shares of the genes of a cell that are taken out.
_SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_RANDOM_ORDERS = 3


def deletion_curves(
    module: GeneMambaModule,
    tokens: Tokens,
    target: Target,
    orders: dict[str, Float[np.ndarray, "n l"]],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the mean score of the cells after more and more of their genes are gone, in several orders.

    Parameters
    ----------
    module
        The module.
    tokens
        Tokens of the cells.
    target
        The score.
    orders
        Name -> a number for each token; the largest go first.
    rng
        Draws the random orders.

    Returns
    -------
    A row per share of the genes that are gone, a column per order; also ``"expression"``, which takes the highest
    ranked genes first, and ``"random"``, the mean of three random orders.
    """
    places = np.broadcast_to(np.arange(tokens.ids.shape[1]), tokens.ids.shape)
    curves = {name: _curve(module, tokens, target, order) for name, order in orders.items()}
    curves["expression"] = _curve(module, tokens, target, -places)
    random = [_curve(module, tokens, target, rng.random(tokens.ids.shape)) for _ in range(_RANDOM_ORDERS)]
    curves["random"] = np.mean(random, axis=0)
    return pd.DataFrame(curves, index=pd.Index(_SHARES, name="share of genes deleted"))


def mean_fall(curves: pd.DataFrame) -> pd.Series:
    """Return how far the score falls on average over the shares from 0 to a half, for each order.

    Parameters
    ----------
    curves
        What :func:`deletion_curves` returned.
    """
    shares = curves.index.to_numpy()
    fall = curves.iloc[0] - curves
    return fall.apply(lambda column: trapezoid(column, shares) / (shares[-1] - shares[0]))


def _curve(module: GeneMambaModule, tokens: Tokens, target: Target, order: np.ndarray) -> Float[np.ndarray, "s"]:
    real = real_positions(tokens)
    place = np.where(real, -order.astype(np.float64), np.inf).argsort(axis=1, kind="stable").argsort(axis=1)
    means = []
    for share in _SHARES:
        gone = place < np.ceil(share * tokens.lengths)[:, None]
        means.append(target.scores(module, visible_part(tokens, ~gone)).mean())
    return np.array(means)
