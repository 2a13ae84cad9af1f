"""Say what a perturbation does to the list of genes of a cell: which token leaves, where and how it comes back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Int

from genemamba_sc._constants import PAD_ID
from genemamba_sc.data import Tokens
from genemamba_sc.data.tokens._token_parts import real_positions

Kind = Literal["delete", "top", "shift"]

# No list of genes is as long: a gene that moves so far stops at the end.
_FARTHEST = np.iinfo(np.int32).max
# Changes that are computed together.
_AT_ONCE = 2048


@dataclass(frozen=True, eq=False)
class Changes:
    """Hold ``m`` changes of one gene in one cell each.

    Parameters
    ----------
    rows, genes
        Number of the cell in its block, and token id of the gene, shape (m,).
    leaves, arrives
        Place that the gene leaves, and place at which it stands afterwards, shape (m,); -1 where it does not.
    values
        Value of the gene afterwards, shape (m,); 0 where it is gone.
    """

    rows: Int[np.ndarray, "m"]
    genes: Int[np.ndarray, "m"]
    leaves: Int[np.ndarray, "m"]
    arrives: Int[np.ndarray, "m"]
    values: Float32[np.ndarray, "m"]

    def first_place(self) -> Int[np.ndarray, "m"]:
        """Return the first place in the list that differs afterwards, (m,)."""
        far = np.iinfo(np.int64).max
        left, right = (np.where(places < 0, far, places) for places in (self.leaves, self.arrives))
        return np.minimum(left, right)

    def take(self, which: np.ndarray) -> "Changes":
        """Take some of the changes."""
        return Changes(self.rows[which], self.genes[which], self.leaves[which], self.arrives[which], self.values[which])

    def applied(self, tokens: Tokens, width: int) -> Tokens:
        """Return the first ``width`` tokens of each changed cell.

        Parameters
        ----------
        tokens
            Tokens of the block.
        width
            Largest number of tokens to return.
        """
        leaves, arrives = self.leaves[:, None], self.arrives[:, None]
        gone, comes = leaves >= 0, arrives >= 0
        lengths = tokens.lengths[self.rows] - gone[:, 0] + comes[:, 0]
        width = max(1, min(width, int(lengths.max(initial=1))))
        place = np.arange(width)[None, :]
        # Without the arrival, a place holds what stood there, or one further where the gene has left before it.
        source = place - (comes & (place > arrives))
        source = source + (gone & (source >= leaves))
        source = np.minimum(source, tokens.ids.shape[1] - 1)
        new, real = comes & (place == arrives), place < lengths[:, None]
        ids = np.where(new, self.genes[:, None], tokens.ids[self.rows[:, None], source])
        values = np.where(new, self.values[:, None], tokens.values[self.rows[:, None], source])
        return Tokens(
            np.where(real, ids, PAD_ID).astype(np.int32),
            np.where(real, values, 0).astype(np.float32),
            np.minimum(lengths, width).astype(np.int32),
        )


def changes_of(tokens: Tokens, wanted: Int[np.ndarray, "u"], kind: Kind, shift: int) -> Iterator[Changes]:
    """List what a kind of perturbation does to each of the wanted genes in each cell, a few thousand changes at a time.

    ``"delete"`` and ``"shift"`` act in cells that have the gene, ``"top"`` in every cell that has any gene: where the
    gene is missing it is put in. A gene takes the value of the one whose place it takes.

    Parameters
    ----------
    tokens
        Tokens of a block of cells.
    wanted
        Token ids of the genes.
    kind
        What is done.
    shift
        Places that a gene moves up, or down if negative; the ends of the list stop it.
    """
    shift = max(-_FARTHEST, min(int(shift), _FARTHEST))
    rows, genes, leaves = _everywhere(tokens, wanted) if kind == "top" else _where_expressed(tokens, wanted)
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        row, leave = rows[part], leaves[part]
        if kind == "delete":
            arrive, values = np.full(len(row), -1), np.zeros(len(row), np.float32)
        else:
            arrive = np.zeros(len(row), np.int64)
            if kind == "shift":
                arrive = np.clip(leave - shift, 0, tokens.lengths[row] - 1)
            values = tokens.values[row, arrive]
        yield Changes(row, genes[part], leave, arrive, values)


def check_kind(kind: object, shift: object) -> None:
    """Refuse a perturbation that there is not, and a shift that does not go with it.

    Parameters
    ----------
    kind
        Name of the perturbation.
    shift
        Places that a gene moves; 0 for every kind but ``"shift"``.

    Raises
    ------
    TypeError
        If the shift is no whole number.
    ValueError
        If the kind is unknown, or has a shift that it does not take, or lacks one.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {get_args(Kind)}. Got {kind!r}. Choose one of them.")
    if isinstance(shift, bool) or not isinstance(shift, int | np.integer):
        raise TypeError(f"shift must be a whole number. Got {shift!r}. Pass a number of places, such as 50.")
    if (kind == "shift") != (shift != 0):
        raise ValueError(
            f"kind='shift' needs a number of places, and no other kind takes one. Got kind={kind!r}, shift={shift}. "
            "Pass kind='shift' with shift=50, say."
        )


def _where_expressed(tokens: Tokens, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, places = np.nonzero(np.isin(tokens.ids, wanted) & real_positions(tokens))
    return rows, tokens.ids[rows, places].astype(np.int64), places


def _everywhere(tokens: Tokens, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair every cell that has any gene with every wanted gene; the place is -1 where the cell lacks the gene."""
    row, gene, place = _where_expressed(tokens, wanted)
    places = np.full((len(tokens.lengths), len(wanted)), -1)
    order = np.argsort(wanted)
    places[row, order[np.searchsorted(wanted, gene, sorter=order)]] = place
    rows = np.repeat(np.arange(len(places)), len(wanted))
    filled = tokens.lengths[rows] > 0
    return rows[filled], np.tile(wanted, len(places))[filled], places.ravel()[filled]
