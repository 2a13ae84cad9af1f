"""Hold pathways: sets of genes, as tokens of a vocabulary, and the pairs of genes that share one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int32, Int64
from scipy import sparse

from genemamba_sc._checks import whole_number
from genemamba_sc._constants import UNK_ID
from genemamba_sc._pathway_index import PathwayIndex, shares_pathway
from genemamba_sc.data.genes._gene_aliases import GeneAliases
from genemamba_sc.data.genes._gene_lists import find_tokens
from genemamba_sc.data.genes._gmt import read_gmt
from genemamba_sc.data.genes._vocabulary import GeneVocabulary

# Number of rounds in which partners are drawn again for pairs that turned out to share a pathway.
_ROUNDS = 50


class PathwayReport(NamedTuple):
    """Report what became of the sets of a file.

    ``n_read`` sets were read, ``n_small`` and ``n_large`` of them left out for their size after mapping, the others
    kept. Of ``n_named`` different names of genes the vocabulary has ``n_found``; the others are ``unmatched``.
    """

    n_read: int
    n_small: int
    n_large: int
    n_named: int
    n_found: int
    unmatched: tuple[str, ...]

    def __str__(self) -> str:
        kept = self.n_read - self.n_small - self.n_large
        return (
            f"{kept:,} of {self.n_read:,} pathways kept ({self.n_small:,} too small, {self.n_large:,} too large); "
            f"{self.n_found:,} of {self.n_named:,} genes are in the vocabulary"
        )


@dataclass(frozen=True, eq=False)
class PathwaySet:
    """Hold pathways as sets of token ids.

    Parameters
    ----------
    names
        Unique names of the pathways.
    members
        Token ids of each pathway's genes, ascending, without repeats.
    vocab_size
        Number of tokens.
    report
        What became of the sets of the file they are from; None where they are from no file.
    vocabulary
        Fingerprint of the genes whose tokens these are; None where it is not known.

    Raises
    ------
    ValueError
        If names and members differ in number, a name repeats, or a token id is out of range.
    """

    names: tuple[str, ...]
    members: tuple[Int32[np.ndarray, "_"], ...]
    vocab_size: int
    report: PathwayReport | None = None
    vocabulary: str | None = None

    def __post_init__(self) -> None:
        if len(self.names) != len(self.members) or len(set(self.names)) != len(self.names):
            raise ValueError(
                f"Each pathway has one name of its own and one set of genes; got {len(set(self.names))} different "
                f"names for {len(self.members)} sets. Name every set once."
            )
        sets = tuple(np.unique(np.asarray(genes, dtype=np.int32)) for genes in self.members)
        object.__setattr__(self, "members", sets)
        for name, genes in zip(self.names, sets):
            if len(genes) and not 0 <= genes[0] <= genes[-1] < self.vocab_size:
                wrong = genes[0] if genes[0] < 0 else genes[-1]
                raise ValueError(
                    f"A member is a token id below vocab_size={self.vocab_size}; {name!r} has {wrong}. "
                    "Use the vocabulary the pathways were read with."
                )

    @classmethod
    def from_gmt(
        cls,
        path: str | os.PathLike[str],
        vocabulary: GeneVocabulary,
        *,
        aliases: GeneAliases | None = None,
        min_genes: int = 10,
        max_genes: int = 300,
    ) -> "PathwaySet":
        """Read gene sets (Reactome, Gene Ontology, MSigDB, Enrichr).

        Parameters
        ----------
        path
            GMT file, plain or gzipped: per line a name, a description, and symbols or Ensembl ids. Lines of one name
            become one pathway.
        vocabulary
            The genes that have tokens.
        aliases
            Table of older symbols; None uses none. A gene that a set has by two names counts once.
        min_genes, max_genes
            Pathways with fewer or more genes of the vocabulary are left out: small ones say little, and two genes of a
            large one ("metabolism") need not have anything to do with each other.

        Raises
        ------
        ValueError
            If a line is malformed, or no pathway is left.
        """
        least = whole_number("min_genes", min_genes, 1)
        most = whole_number("max_genes", max_genes, least)
        sets = read_gmt(path)
        names = sorted({gene for genes in sets.values() for gene in genes})
        tokens = find_tokens(names, vocabulary, aliases)
        token_of = dict(zip(names, tokens.tolist()))
        found = {pathway: {token_of[gene] for gene in genes} - {UNK_ID} for pathway, genes in sets.items()}
        kept = {name: np.array(sorted(genes), np.int32) for name, genes in found.items() if least <= len(genes) <= most}
        report = PathwayReport(
            n_read=len(sets),
            n_small=sum(len(genes) < least for genes in found.values()),
            n_large=sum(len(genes) > most for genes in found.values()),
            n_named=len(names),
            n_found=int((tokens != UNK_ID).sum()),
            unmatched=tuple(name for name in names if token_of[name] == UNK_ID),
        )
        if not kept:
            raise ValueError(
                f"A pathway needs {least} to {most} genes of the vocabulary of {vocabulary.n_genes:,} "
                f"{vocabulary.species} genes; in {os.fspath(path)!r} none has: {report}. "
                "Pass a file of that species, an alias table, or another min_genes."
            )
        return cls(tuple(kept), tuple(kept.values()), vocabulary.size, report, vocabulary.fingerprint)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"PathwaySet({len(self):,} pathways, {len(self.genes):,} genes)"

    @cached_property
    def sizes(self) -> Int64[np.ndarray, "n"]:
        """Number of genes of each pathway, shape (n,)."""
        return np.array([len(genes) for genes in self.members], dtype=np.int64)

    @cached_property
    def genes(self) -> Int32[np.ndarray, "g"]:
        """Token ids of all genes of some pathway, ascending, shape (g,)."""
        return np.unique(np.concatenate([np.empty(0, np.int32), *self.members]))

    @cached_property
    def _adjacency(self) -> sparse.csr_array:
        """Mask of which genes share a pathway, (g, g) over ``genes``; explicit entries are True."""
        columns = np.searchsorted(self.genes, np.concatenate([np.empty(0, np.int32), *self.members]))
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        shape = (len(self), len(self.genes))
        membership = sparse.csr_array((np.ones(len(columns), np.float32), columns, starts), shape=shape)
        return sparse.csr_array((membership.T @ membership).astype(bool))

    def index(self) -> PathwayIndex:
        """Build the look-up of which genes share a pathway."""
        rows = np.full(self.vocab_size, -1, dtype=np.int64)
        rows[self.genes] = np.arange(len(self.genes))
        bits = np.zeros((len(self.genes), -(-len(self.genes) // 8)), dtype=np.uint8)
        share = self._adjacency
        for start in range(0, len(bits), 1024):
            bits[start : start + 1024] = np.packbits(share[start : start + 1024].toarray(), axis=1, bitorder="little")
        return PathwayIndex(torch.from_numpy(rows), torch.from_numpy(bits), self.vocabulary)

    def pairs(self) -> Int32[np.ndarray, "m 2"]:
        """Return all pairs of different genes that share a pathway, each once, lower token id first, sorted."""
        upper = sparse.coo_array(sparse.triu(self._adjacency, k=1))
        found = np.stack([self.genes[upper.row], self.genes[upper.col]], axis=1).astype(np.int32)
        return found[np.lexsort((found[:, 1], found[:, 0]))]

    def select(self, rows: Sequence[int] | Int64[np.ndarray, "k"]) -> "PathwaySet":
        """Take the pathways of these numbers, in this order.

        Parameters
        ----------
        rows
            Numbers of pathways.
        """
        return PathwaySet(
            tuple(self.names[row] for row in rows),
            tuple(self.members[row] for row in rows),
            self.vocab_size,
            vocabulary=self.vocabulary,
        )

    def split(self, share: float, seed: int = 0) -> "PathwaySplit":
        """Set pathways aside, to test on pairs of genes that training never brought together.

        Parameters
        ----------
        share
            Share of the pathways to hold out, in (0, 1); at least one is held out and one kept.
        seed
            Seed of the draw.

        Raises
        ------
        ValueError
            If ``share`` is out of range, or there are fewer than two pathways.
        """
        if not 0 < share < 1 or len(self) < 2:
            raise ValueError(
                f"A split needs a share in (0, 1) and two pathways at least; got share={share!r} of {len(self)} "
                "pathways. Hold out a share such as 0.2."
            )
        n_held = min(len(self) - 1, max(1, round(share * len(self))))
        order = np.random.default_rng(seed).permutation(len(self))
        return PathwaySplit(self, self.select(np.sort(order[n_held:])), self.select(np.sort(order[:n_held])))


@dataclass(frozen=True, eq=False)
class PathwaySplit:
    """Hold pathways in two parts.

    A contrast trained on ``train`` takes pairs that share held-out pathways only for negatives, since it knows no
    better. It takes the negative pairs of :meth:`sample_pairs` for negatives too, so the comparison is fair.

    Parameters
    ----------
    whole
        All pathways.
    train, held_out
        The two parts.
    """

    whole: PathwaySet = field(repr=False)
    train: PathwaySet
    held_out: PathwaySet

    @cached_property
    def positives(self) -> Int32[np.ndarray, "m 2"]:
        """Pairs of genes of some training pathway that share a held-out pathway and no training pathway."""
        pairs, index = self.held_out.pairs(), self.train.index()
        known = index.known(torch.from_numpy(pairs.astype(np.int64))).numpy().all(axis=1)
        return pairs[known & ~shares_pathway(index, pairs)]

    def sample_pairs(self, n: int, seed: int = 0) -> tuple[Int32[np.ndarray, "k 2"], Bool[np.ndarray, "k"]]:
        """Draw held-out pairs and as many pairs that share no pathway at all, to rank them by similarity.

        Negatives are the drawn pairs with their second genes shuffled: each gene is in nearly as many negatives as
        positives, so that no score can win by knowing which genes have many partners.

        Parameters
        ----------
        n
            Largest number of pairs of each kind.
        seed
            Seed of the draw.

        Returns
        -------
        The pairs, positives first, shape (k, 2), and a mask that is True for positives, shape (k,).
        """
        rng = np.random.default_rng(seed)
        drawn = self.positives[rng.permutation(len(self.positives))[:n]]
        negatives = drawn.copy()
        index, wrong = self.whole.index(), np.ones(len(drawn), dtype=bool)
        for _ in range(_ROUNDS):
            # Pairs that are wrong swap partners with as many others, which may be right by now.
            moved = np.flatnonzero(wrong)
            if len(moved) == 0:
                break
            moved = np.union1d(moved, rng.integers(0, len(drawn), len(moved)))
            negatives[moved, 1] = negatives[rng.permutation(moved), 1]
            wrong = shares_pathway(index, negatives) | (negatives[:, 0] == negatives[:, 1])
        negatives = negatives[~wrong]
        labels = np.repeat([True, False], [len(drawn), len(negatives)])
        return np.concatenate([drawn, negatives]), labels
