"""Keep an integration as plain arrays, and apply it to cells of known, new and unknown batches."""

import numbers
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Integer

from genemamba_sc._checks import whole_number
from genemamba_sc.integration._offsets import Offsets, Spreads
from genemamba_sc.integration._reference import Reference

Move = Offsets | Spreads
# Squared distances of unit vectors are divided by the width; below this, clusters are as hard as they can be.
_NARROWEST = 1e-6
# Cells that are moved at once.
_BLOCK = 16_384


@dataclass(frozen=True)
class IntegrationConfig:
    """Choose how batches are integrated.

    Parameters
    ----------
    n_axes
        Dimensions of the integrated embedding, at most those of the embedding itself.
    n_neighbours
        Neighbours that a cell has in each other batch, at most a tenth of its cells; partners are those where this is
        mutual.
    n_clusters
        Clusters, each of which has an offset for each batch; fewer where cells are few.
    n_rounds
        How often partners are looked for, and cells moved.
    width
        Softness of the clusters.
    sharpness
        How much axes that tell little are shrunk; 0 keeps all at the scale of the noise.

    Raises
    ------
    TypeError, ValueError
        If a choice is out of range.
    """

    n_axes: int = 30
    n_neighbours: int = 20
    n_clusters: int = 100
    n_rounds: int = 2
    width: float = 0.1
    sharpness: float = 0.25

    def __post_init__(self) -> None:
        for field in fields(self)[:4]:
            whole_number(field.name, getattr(self, field.name), 2 if field.name == "n_clusters" else 1)
        for name in ("width", "sharpness"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise TypeError(f"{name} must be a number. Got {value!r}. Leave it out for the default.")
            object.__setattr__(self, name, float(value))
        if not _NARROWEST <= self.width < np.inf:
            raise ValueError(
                f"width must be {_NARROWEST:g} or more, and finite. Got {self.width!r}. Its default is 0.1."
            )
        if not 0 <= self.sharpness < np.inf:
            raise ValueError(f"sharpness must be 0 or more, and finite. Got {self.sharpness!r}. Its default is 0.25.")


@dataclass(frozen=True, eq=False)
class Integration:
    """Map embeddings onto coordinates in which batches are mixed.

    Parameters
    ----------
    axes
        Linear axes, shape (d_model, k).
    centre
        What is subtracted, shape (k,).
    rounds
        Offsets of the known batches, in this order.
    spreads
        Scales of the known batches, which come last.
    reference
        Cells that new batches are compared with.
    config
        The choices.
    """

    axes: Float[np.ndarray, "d k"]
    centre: Float[np.ndarray, "k"]
    rounds: tuple[Offsets, ...]
    spreads: Spreads
    reference: Reference
    config: IntegrationConfig

    def __call__(
        self, embedding: Float[np.ndarray, "n d"], batches: Integer[np.ndarray, "n"]
    ) -> Float32[np.ndarray, "n k"]:
        """Integrate cells of known batches; each is mapped by itself, whatever cells come with it.

        Parameters
        ----------
        embedding
            Embedding of the encoder, shape (n, d_model).
        batches
            Code of the batch of each cell, shape (n,); -1 for an unknown one, which is mapped onto the axes only,
            as one is that had no cell in the fit.
        """
        known = np.append(self.is_fitted, False)[batches]
        return moved(self.project(embedding), np.where(known, batches, -1), (*self.rounds, self.spreads))

    def project(self, embedding: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Give the coordinates along the axes, shape (n, k), without any correction of batches."""
        return embedding.astype(np.float64) @ self.axes - self.centre

    def fit_batch(self, embedding: Float[np.ndarray, "n d"]) -> tuple[Move, ...]:
        """Fit the moves of one new batch; see :meth:`Reference.moves`.

        Parameters
        ----------
        embedding
            Cells of the batch, shape (n, d_model).
        """
        return self.reference.moves(self.project(embedding), self.spreads, self.config.n_neighbours)

    def map_batch(self, embedding: Float[np.ndarray, "n d"], moves: tuple[Move, ...]) -> Float32[np.ndarray, "n k"]:
        """Integrate cells of a new batch by the moves that :meth:`fit_batch` found.

        Parameters
        ----------
        embedding
            Cells of the batch, shape (n, d_model).
        moves
            Its moves.
        """
        cells = self.project(embedding)
        return moved(cells, np.zeros(len(cells), dtype=np.int64), moves)

    def arrays(self) -> dict[str, Float32[np.ndarray, "..."]]:
        """Give all numbers by name; :meth:`of_arrays` makes the same integration of them."""
        found = {"axes": self.axes, "centre": self.centre, "reference": self.reference.cells}
        found["reach"] = np.array([self.reference.reach])
        for number, move in enumerate(self.rounds):
            found |= {f"rounds.{number}.centroids": move.centroids, f"rounds.{number}.offsets": move.offsets}
        found |= {f"spreads.{name}": getattr(self.spreads, name) for name in _SPREADS}
        return {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in found.items()}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray], config: IntegrationConfig) -> "Integration":
        """Make an integration of what :meth:`arrays` gave.

        Parameters
        ----------
        arrays
            The numbers.
        config
            The choices.

        Raises
        ------
        KeyError
            If one is missing.
        ValueError
            If there are others, or their shapes do not fit together.
        """
        _check_dimensions(arrays, config.n_rounds)
        rounds = tuple(
            Offsets(arrays[f"rounds.{n}.centroids"], arrays[f"rounds.{n}.offsets"], config.width)
            for n in range(config.n_rounds)
        )
        spreads = Spreads(**{name: arrays[f"spreads.{name}"] for name in _SPREADS}, width=config.width)
        reference = Reference(arrays["reference"], float(arrays["reach"][0]))
        made = cls(arrays["axes"], arrays["centre"], rounds, spreads, reference, config)
        made.check()
        return made

    def with_batches(self, codes: Integer[np.ndarray, "b"], n_batches: int) -> "Integration":
        """Give the batches other codes; a code without a batch is not :attr:`is_fitted`.

        Parameters
        ----------
        codes
            New code of each batch, shape (b,).
        n_batches
            Number of codes.
        """
        rounds = []
        for move in self.rounds:
            offsets = np.zeros((n_batches, *move.centroids.shape), dtype=np.float32)
            offsets[codes] = move.offsets
            rounds.append(replace(move, offsets=offsets))
        factors = np.zeros((n_batches, len(self.spreads.centroids)), dtype=np.float32)
        factors[codes] = self.spreads.factors
        return replace(self, rounds=tuple(rounds), spreads=replace(self.spreads, factors=factors))

    @property
    def is_fitted(self) -> Bool[np.ndarray, "b"]:
        """Whether a batch had cells in the fit; one without has factors of zero, which nothing else gives."""
        return np.asarray((self.spreads.factors > 0).all(axis=1))

    @property
    def n_batches(self) -> int:
        """Number of the known batches."""
        return len(self.spreads.factors)

    def check(self) -> None:
        """Check that all shapes fit together.

        Raises
        ------
        ValueError
            If they do not.
        """
        k, b = self.axes.shape[1], self.n_batches
        shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {"centre": (self.centre.shape, (k,))}
        shapes["reference"] = (self.reference.cells.shape[1:], (k,))
        for n, move in enumerate(self.rounds):
            shapes[f"rounds.{n}.offsets"] = (move.offsets.shape, (b, *move.centroids.shape))
            shapes[f"rounds.{n}.centroids"] = (move.centroids.shape[1:], (k,))
        n_clusters = len(self.spreads.centroids)
        for name in ("centroids", "means"):
            shapes[f"spreads.{name}"] = (getattr(self.spreads, name).shape, (n_clusters, k))
        for name in ("overall", "aim"):
            shapes[f"spreads.{name}"] = (getattr(self.spreads, name).shape, (n_clusters,))
        shapes["spreads.factors"] = (self.spreads.factors.shape, (b, n_clusters))
        wrong = [f"{name} {found} instead of {wanted}" for name, (found, wanted) in shapes.items() if found != wanted]
        if wrong:
            raise ValueError(f"The arrays of an integration must fit together. Got {'; '.join(wrong)}.")


_SPREADS = ("centroids", "means", "overall", "aim", "factors")
_DIMENSIONS = {"axes": 2, "centre": 1, "reference": 2, "reach": 1}
_DIMENSIONS |= dict(zip((f"spreads.{name}" for name in _SPREADS), (2, 2, 1, 1, 2)))


def _check_dimensions(arrays: Mapping[str, np.ndarray], n_rounds: int) -> None:
    if n_rounds > len(arrays):
        raise ValueError(f"An integration of {n_rounds} rounds has as many offsets. Got {len(arrays)} arrays.")
    wanted = dict(_DIMENSIONS)
    for n in range(n_rounds):
        wanted |= {f"rounds.{n}.centroids": 2, f"rounds.{n}.offsets": 3}
    unknown = sorted(set(arrays) - set(wanted))
    if unknown:
        raise ValueError(f"An integration of {n_rounds} rounds has the arrays {sorted(wanted)}. Got also {unknown}.")
    flat = [f"{name} {arrays[name].shape}" for name, ndim in wanted.items() if arrays[name].ndim != ndim]
    if flat or arrays["reach"].shape != (1,):
        raise ValueError(f"The arrays of an integration must fit together. Got {', '.join(flat) or 'no reach'}.")


def moved(
    cells: Float[np.ndarray, "n k"], batches: Integer[np.ndarray, "n"], moves: tuple[Move, ...]
) -> Float32[np.ndarray, "n k"]:
    """Apply moves one after the other, block by block: each cell moves by itself, and memberships take room.

    Parameters
    ----------
    cells
        Coordinates along the axes, shape (n, k).
    batches
        Codes, shape (n,).
    moves
        The moves.
    """
    result = np.empty(cells.shape, dtype=np.float32)
    for start in range(0, len(cells), _BLOCK):
        block = slice(start, start + _BLOCK)
        part = cells[block]
        for move in moves:
            part = move(part, batches[block])
        result[block] = part
    return result
