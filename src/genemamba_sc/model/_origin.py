"""Where the weights of a model come from, and what happened to them since: said once, in one place."""

from dataclasses import dataclass, field
from typing import Any

from genemamba_sc._checks import GeneInit


@dataclass(frozen=True)
class Origin:
    """Where the weights of a model come from.

    Parameters
    ----------
    name
        Name of the pretrained weights; ``None`` where the model starts from scratch.
    manifest
        What these were made from and how.
    evaluation
        Rows of their table of results.
    has_gene_head
        Whether what predicts genes came with them.
    is_trained
        Whether the model was trained since.
    n_epochs
        Passes over the training cells since; 0 leaves the encoder as it was.
    """

    name: str | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    evaluation: list[dict[str, Any]] = field(default_factory=list)
    has_gene_head: bool = False
    is_trained: bool = False
    n_epochs: int = 0

    @property
    def is_pretrained(self) -> bool:
        """Whether the model started from pretrained weights."""
        return self.name is not None

    @property
    def knows_genes(self) -> bool:
        """Whether the model has learned anything, and may be asked."""
        return self.is_trained or self.is_pretrained

    @property
    def needs_start(self) -> bool:
        """Whether training has to set what is known of the genes before the first step: always, once."""
        return not (self.is_trained or self.has_gene_head)

    def table_start(self, gene_init: GeneInit) -> GeneInit | None:
        """Tell how the gene table starts; ``None`` where it is pretrained, and left as it is.

        Parameters
        ----------
        gene_init
            How it starts from scratch.
        """
        return None if self.is_pretrained else gene_init

    def as_pretrained(self) -> dict[str, Any] | None:
        """Name, manifest and evaluation, as ``pretrained_`` of a model has them; ``None`` from scratch."""
        if self.name is None:
            return None
        return {"origin": self.name, "manifest": self.manifest, "evaluation": self.evaluation}
