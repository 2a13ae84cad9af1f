"""Record where the weights of a model come from, and what has happened to them since, in one place."""

from dataclasses import dataclass, field
from typing import Any

from genemamba_sc._checks import GeneInit


@dataclass(frozen=True)
class Origin:
    """Record where the weights of a model come from.

    Parameters
    ----------
    name
        Name of the pretrained weights; ``None`` where the model starts from scratch.
    manifest
        What these weights were made from and how.
    evaluation
        Rows of the table of results of these weights.
    has_gene_head
        Whether the head that predicts genes came with the weights.
    is_trained
        Whether the model has been trained since.
    n_epochs
        Number of passes over the training cells since then; 0 leaves the encoder as it was.
    table_within_batches
        Whether training started the gene table with what varies within batches only; ``None`` where it did not start
        it, or an older version did, which did not note it.
    """

    name: str | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    evaluation: list[dict[str, Any]] = field(default_factory=list)
    has_gene_head: bool = False
    is_trained: bool = False
    n_epochs: int = 0
    table_within_batches: bool | None = None

    @property
    def is_pretrained(self) -> bool:
        """Whether the model started from pretrained weights."""
        return self.name is not None

    @property
    def knows_genes(self) -> bool:
        """Whether the model has learned anything, and may be queried."""
        return self.is_trained or self.is_pretrained

    @property
    def needs_start(self) -> bool:
        """Whether training has to set the gene table and frequencies before the first step: always, once."""
        return not (self.is_trained or self.has_gene_head)

    def table_start(self, gene_init: GeneInit) -> GeneInit | None:
        """Return how the gene table starts; ``None`` where it is pretrained and stays as it is.

        Parameters
        ----------
        gene_init
            How the table starts from scratch.
        """
        return None if self.is_pretrained else gene_init

    def as_pretrained(self) -> dict[str, Any] | None:
        """Return name, manifest and evaluation, as ``pretrained_`` of a model has them; ``None`` from scratch."""
        if self.name is None:
            return None
        return {"origin": self.name, "manifest": self.manifest, "evaluation": self.evaluation}
