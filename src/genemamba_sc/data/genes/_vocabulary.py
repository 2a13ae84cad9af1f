"""Define the genes that a model knows: token id, Ensembl id, symbol, median."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from anndata import AnnData
from jaxtyping import Float64, Integer

from genemamba_sc._constants import FIRST_GENE_ID, N_SPECIAL, PAD_ID, UNK_ID
from genemamba_sc.data.cells._expression import Scale
from genemamba_sc.data.cells._matrix import open_matrix
from genemamba_sc.data.genes import _vocabulary_io as io
from genemamba_sc.data.genes._gene_names import check_gene_ids, guess_species, strip_version
from genemamba_sc.data.genes._medians import measure_genes
from genemamba_sc.data.genes._text_files import naming


@dataclass(frozen=True, eq=False)
class GeneVocabulary:
    """Hold the genes that have tokens; gene ``i`` is token ``i + 2``.

    ``[UNK]`` is 0, ``[PAD]`` 1, then come the genes, ``[CLS]`` and ``[MASK]``. Equal vocabularies give equal tokens.

    Parameters
    ----------
    gene_ids
        Unique names of the genes, Ensembl ids without version where there are any.
    symbols
        Symbol of every gene, ``""`` where unknown.
    medians
        Non-zero median of every gene, of counts per 10,000, shape ``(v,)``; values of the gene are divided by it.
    species
        Species for reports and refusals, such as ``"human"``.

    Raises
    ------
    ValueError
        If the genes are none, not unique or unnamed, the lengths differ, or a median is not positive.
    """

    gene_ids: tuple[str, ...] = field(repr=False)
    symbols: tuple[str, ...] = field(repr=False)
    medians: Float64[np.ndarray, "v"] = field(repr=False)
    species: str

    def __post_init__(self) -> None:
        # This is a copy that nobody can write to: the fingerprint is computed once.
        medians = np.array(self.medians, dtype=np.float64)
        medians.flags.writeable = False
        object.__setattr__(self, "medians", medians)
        object.__setattr__(self, "gene_ids", tuple(self.gene_ids))
        object.__setattr__(self, "symbols", tuple(self.symbols))
        if not self.gene_ids:
            raise ValueError("A vocabulary needs genes; got none. Pass at least one gene id.")
        if not len(self.gene_ids) == len(self.symbols) == len(medians):
            raise ValueError(
                f"Every gene has one id, one symbol and one median; got {len(self.gene_ids)} ids, {len(self.symbols)} "
                f'symbols, {len(medians)} medians. Use "" for an unknown symbol and 1.0 for an unknown median.'
            )
        check_gene_ids(self.gene_ids)
        wrong = np.flatnonzero(~(np.isfinite(medians) & (medians > 0)))
        if len(wrong):
            raise ValueError(
                f"A non-zero median is a positive number; {self.gene_ids[wrong[0]]} has {medians[wrong[0]]} "
                f"({len(wrong)} such genes). Leave out genes that no cell expresses."
            )

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self.gene_ids)

    @property
    def size(self) -> int:
        """Number of tokens: the genes and four special tokens."""
        return self.n_genes + N_SPECIAL

    @property
    def unk_id(self) -> int:
        """Token id of ``[UNK]``."""
        return UNK_ID

    @property
    def pad_id(self) -> int:
        """Token id of ``[PAD]``."""
        return PAD_ID

    @property
    def cls_id(self) -> int:
        """Token id of ``[CLS]``."""
        return self.n_genes + FIRST_GENE_ID

    @property
    def mask_id(self) -> int:
        """Token id of ``[MASK]``, the last one."""
        return self.cls_id + 1

    @cached_property
    def token_medians(self) -> Float64[np.ndarray, "size"]:
        """Median of every token, shape ``(size,)``; 1.0 for special tokens."""
        medians = np.ones(self.size)
        medians[FIRST_GENE_ID : self.cls_id] = self.medians
        medians.flags.writeable = False
        return medians

    @cached_property
    def token_of_id(self) -> Mapping[str, int]:
        """Token id of each gene id."""
        return {gene: token for token, gene in enumerate(self.gene_ids, start=FIRST_GENE_ID)}

    @cached_property
    def token_of_symbol(self) -> Mapping[str, int]:
        """Token id of each symbol; where several genes share a symbol, that of the first gene.

        Ensembl gives the genes of the primary assembly the lower ids, and those of its alternative loci the higher
        ones.
        """
        first: dict[str, int] = {}
        for token, symbol in enumerate(self.symbols, start=FIRST_GENE_ID):
            if symbol:
                first.setdefault(symbol, token)
        return first

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over gene ids and medians, in hexadecimal: equal fingerprints give equal tokens."""
        digest = hashlib.sha256("\n".join(self.gene_ids).encode())
        digest.update(b"\n\n")
        digest.update(self.medians.astype("<f8").tobytes())
        return digest.hexdigest()

    def token_of(self, gene: str) -> int:
        """Return the token id of a gene.

        Parameters
        ----------
        gene
            Gene id (an Ensembl version does not matter) or symbol.

        Raises
        ------
        KeyError
            If the vocabulary lacks the gene.
        """
        ids, symbols = self.token_of_id, self.token_of_symbol
        for table, name in ((ids, gene), (ids, strip_version(gene) or gene), (symbols, gene)):
            if name in table:
                return table[name]
        other = next((name for name in (gene.upper(), gene.capitalize()) if name in self.token_of_symbol), None)
        hint = f"Did you mean {other!r}?" if other else "Look among vocabulary.gene_ids and vocabulary.symbols."
        known = f"{self.n_genes:,} {self.species} genes"
        raise KeyError(f"A gene must be in the vocabulary of {known}; got {gene!r}. {hint}")

    def __eq__(self, other: object) -> bool:
        return self.fingerprint == other.fingerprint if isinstance(other, GeneVocabulary) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @classmethod
    def from_anndata(
        cls,
        adata: AnnData,
        *,
        layer: str | None = None,
        gene_id_key: str | None = None,
        symbol_key: str | None = None,
        indices: Integer[np.ndarray, "n"] | None = None,
        max_cells: int = 50_000,
        scale: Scale | None = None,
    ) -> "GeneVocabulary":
        """Take the genes of a data set, with their medians in it, sorted by id.

        Ensembl versions are dropped, and columns of one gene are added. Columns without a name and genes that no cell
        expresses are left out (they have no median, and nothing would train them).

        Parameters
        ----------
        adata
            Cells with counts, or normalised (also log1p) values.
        layer
            Layer to read; None reads ``X``.
        gene_id_key
            Column of ``adata.var`` with the gene ids; None takes ``adata.var_names``.
        symbol_key
            Column of ``adata.var`` with the symbols. None takes ``adata.var_names``; where these are Ensembl ids, the
            first of the columns symbol, gene_symbols, gene_symbol, feature_name and gene_name.
        indices
            Cells to take the medians from, such as those of the training set; None takes all cells.
        max_cells
            Number of cells above which evenly spaced cells are taken instead of all; each run takes the same.
        scale
            What the values are; None detects it (see :func:`genemamba_sc.check_genes`).

        Raises
        ------
        ValueError
            If a column or layer is missing, names are mere row numbers, no gene remains, or the matrix holds neither
            counts nor normalised values.
        """
        matrix = open_matrix(adata, layer, scale)
        measured = measure_genes(matrix, adata.var, gene_id_key, symbol_key, indices=indices, max_cells=max_cells)
        return cls(*measured)

    @classmethod
    def from_tokenizer_json(
        cls, path: str | os.PathLike[str], *, medians: str | os.PathLike[str] | None = None
    ) -> "GeneVocabulary":
        """Read the vocabulary of a published checkpoint (``gene_tokenizer.json``, a word-level tokenizer).

        Parameters
        ----------
        path
            The JSON file.
        medians
            Tab-separated table with the columns ``ensembl_id`` and ``nonzero_median``, and ``symbol`` if known.
            None sets every median to 1.0: genes are then ranked by expression alone.

        Raises
        ------
        ValueError
            If ``[UNK]`` and ``[PAD]`` are not tokens 0 and 1, the ids have gaps, or a gene has no median.
        """
        gene_ids = io.read_tokenizer_json(path)
        if medians is None:
            symbols, values = [""] * len(gene_ids), np.ones(len(gene_ids))
        else:
            symbols, values = io.read_medians(medians, gene_ids)
        with naming(path if medians is None else f"{path} with {medians}"):
            return cls(tuple(gene_ids), tuple(symbols), values, guess_species(gene_ids))

    @classmethod
    def from_tsv(cls, path: str | os.PathLike[str]) -> "GeneVocabulary":
        """Read what ``to_tsv`` wrote, or a table with its columns.

        Parameters
        ----------
        path
            Tab-separated table with the columns ``token_id``, ``ensembl_id``, ``symbol``, ``nonzero_median``;
            gzip by suffix.

        Raises
        ------
        ValueError
            If it is damaged, or the genes are not those whose fingerprint the first line names.
        """
        header, table = io.read_table(path)
        gene_ids, medians = tuple(table["ensembl_id"]), table["nonzero_median"].to_numpy(np.float64)
        with naming(path):
            species = header.get("species") or guess_species(gene_ids)
            vocabulary = cls(gene_ids, tuple(table["symbol"]), medians, species)
        io.check_fingerprint(header.get("fingerprint"), vocabulary.fingerprint, os.fspath(path))
        return vocabulary

    def to_tsv(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary as a table; the file appears whole or not at all.

        Parameters
        ----------
        path
            Path to write; ``.gz`` compresses.
        """
        io.write_table(path, self.gene_ids, self.symbols, self.medians, self.species, self.fingerprint)

    def to_dict(self) -> dict[str, Any]:
        """Turn the vocabulary into lists and strings, fit for JSON and a registry."""
        return {
            "gene_ids": list(self.gene_ids),
            "symbols": list(self.symbols),
            "medians": self.medians.tolist(),
            "species": self.species,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "GeneVocabulary":
        """Invert ``to_dict``.

        Parameters
        ----------
        state
            What ``to_dict`` returned.

        Raises
        ------
        ValueError
            If an entry is missing, or the genes are not those of the fingerprint.
        """
        keys = ("gene_ids", "symbols", "medians", "species")
        if missing := [key for key in keys if key not in state]:
            raise ValueError(f"A stored vocabulary has {keys}; {missing} are missing. Store what to_dict() returns.")
        medians = np.asarray(state["medians"], dtype=np.float64)
        vocabulary = cls(tuple(state["gene_ids"]), tuple(state["symbols"]), medians, state["species"])
        io.check_fingerprint(state.get("fingerprint"), vocabulary.fingerprint, "the stored vocabulary")
        return vocabulary
