"""Define the module: tokens in, losses out."""

from typing import Any

import torch
from jaxtyping import Float
from scvi.module.base import BaseModuleClass, LossOutput
from torch import Tensor

from genemamba_sc._types import CellEmbedding, CellLogits, Lengths, TokenIds, TokenValues
from genemamba_sc.nn import (
    BiMambaEncoder,
    CellTypeHead,
    EncoderConfig,
    GeneHead,
    classification_loss,
    gene_loss,
    mask_tokens,
    sample_positions,
)


class GeneMambaModule(BaseModuleClass):
    """Combine the bidirectional Mamba encoder with the objectives that apply.

    The training loss is ``mgm_weight · L_genes + classification_weight · L_types``:

    * masked gene modelling (``mgm_loss``): a share of the genes is hidden and predicted from the others, by a softmax
      over the vocabulary, tied to the gene table. The values of hidden genes stay visible; pretraining hides these too,
      so that its ``mgm`` is another number (:class:`genemamba_sc.nn.PretrainingObjectives`). The hidden genes are left
      out of the pool, so that it cannot show them either;
    * classification, where labels are registered: cross-entropy over the labelled cells. The scores are those of
      marker genes and gene programs, fitted beforehand, plus what a linear layer reads from the pool of the visible
      genes.

    Both read the same forward pass.

    Parameters
    ----------
    encoder_config
        Shape and choices of the encoder.
    n_labels
        Number of cell types; 0 where no labels are registered.
    """

    def __init__(self, encoder_config: EncoderConfig, n_labels: int = 0) -> None:
        super().__init__()
        self.encoder_config = encoder_config
        self.n_labels = n_labels
        self.encoder = BiMambaEncoder(encoder_config)
        self.gene_head = GeneHead(encoder_config.d_model, encoder_config.vocab_size)
        self.cell_type_head = (
            CellTypeHead(encoder_config.d_model, n_labels, encoder_config.vocab_size) if n_labels else None
        )

    @property
    def mask_id(self) -> int:
        """Token id of [MASK]: the last row of the gene table."""
        return self.encoder_config.vocab_size - 1

    @torch.no_grad()
    def initialise_genes(self, table: Float[Tensor, "v d"] | None, log_frequency: Float[Tensor, "v"]) -> None:
        """Start from a gene table and from the frequency of the genes.

        Parameters
        ----------
        table
            Gene embeddings, shape (v, d). Rows of zeros (special tokens, genes never seen) keep what they hold,
            and so does the whole table where this is ``None``.
        log_frequency
            Bias of the gene head: log of how often each token occurs, shape (v,).
        """
        weight = self.encoder.embeddings.weight
        if table is not None:
            known = table.abs().sum(dim=1) > 0
            weight[known] = table[known].to(weight)
        self.gene_head.bias.copy_(log_frequency)
        # The scores get about unit spread, whatever the scale of the table: the first loss is that of the frequencies.
        self.gene_head.scale.fill_(weight.square().sum(dim=1).mean().rsqrt())

    @torch.no_grad()
    def set_gene_scores(
        self,
        markers: Float[Tensor, "v c"],
        programs: Float[Tensor, "v c"],
        bias: Float[Tensor, "c"],
        medians: Float[Tensor, "v"],
    ) -> None:
        """Set the fitted part of the cell-type head.

        Parameters
        ----------
        markers
            Score a token adds per ``log1p`` of its counts per 10,000, shape (v, c).
        programs
            Score a token adds per share in the sum of ``log1p(value)`` of its cell, shape (v, c).
        bias
            Bias, shape (c,).
        medians
            Median of each token's counts per 10,000, by which its values were divided, shape (v,).
        """
        if self.cell_type_head is None:
            raise ValueError("This module has no cell types (n_labels=0), so it has no gene scores to set.")
        self.cell_type_head.medians.copy_(medians)
        self.cell_type_head.markers.copy_(markers)
        self.cell_type_head.programs.copy_(programs)
        self.cell_type_head.marker_bias.copy_(bias)

    def _get_inference_input(self, tensors: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        return {name: tensors[name] for name in ("token_ids", "token_values", "lengths")}

    def inference(
        self, token_ids: TokenIds, token_values: TokenValues, lengths: Lengths, mask_rate: float = 0.0
    ) -> dict[str, Tensor]:
        """Compute hidden states and cell embeddings.

        Parameters
        ----------
        token_ids, token_values
            Tokens and their values, shape (b, l).
        lengths
            Number of genes per cell, shape (b,).
        mask_rate
            Share of the genes to hide.

        Returns
        -------
        ``cell`` and ``context`` (b, d), see :class:`genemamba_sc.nn.EncoderOutput`. Of the ``k`` tokens that the layers
        read, also ``hidden`` (b, k, d); ``targets`` (b, k), the token ids before any was hidden; and ``is_hidden`` (b,
        k), True where a token was hidden.
        """
        masked = mask_tokens(token_ids, lengths, mask_rate, self.mask_id, self.encoder_config.context_len)
        output = self.encoder(masked.ids, token_values, lengths, visible=~masked.hidden)
        return {
            "cell": output.cell,
            "context": output.context,
            "hidden": output.hidden,
            "targets": token_ids.gather(1, output.positions),
            "is_hidden": masked.hidden.gather(1, output.positions),
        }

    def _get_generative_input(
        self, tensors: dict[str, Tensor], inference_outputs: dict[str, Tensor], **kwargs: Any
    ) -> dict[str, Tensor]:
        inputs: dict[str, Tensor] = {
            name: tensors[name] for name in ("token_ids", "token_values", "gene_scores") if name in tensors
        }
        return {"context": inference_outputs["context"], **inputs}

    def generative(
        self,
        context: CellEmbedding,
        token_ids: TokenIds,
        token_values: TokenValues,
        gene_scores: CellLogits | None = None,
    ) -> dict[str, Tensor]:
        """Compute the scores of the cell types, ``cell_type_logits`` (b, c), where labels are registered.

        Parameters
        ----------
        context
            Pools of the tokens that the layers read, shape (b, d).
        token_ids, token_values
            Tokens and their values, shape (b, l).
        gene_scores
            Out-of-fold scores by markers and programs, shape (b, c); ``None`` takes the scores of the fit in the head.
        """
        head = self.cell_type_head
        if head is None:
            return {}
        scores = head.score_genes(token_ids, token_values) if gene_scores is None else gene_scores
        return {"cell_type_logits": head(context, scores)}

    def loss(
        self,
        tensors: dict[str, Tensor],
        inference_outputs: dict[str, Tensor],
        generative_outputs: dict[str, Tensor],
        mgm_weight: float = 1.0,
        classification_weight: float = 1.0,
        label_smoothing: float = 0.0,
        max_masked: int = 1024,
    ) -> LossOutput:
        """Compute the weighted sum of the objectives that apply; each part is in ``extra_metrics``.

        Parameters
        ----------
        tensors
            The minibatch.
        inference_outputs, generative_outputs
            What :meth:`inference` and :meth:`generative` returned.
        mgm_weight, classification_weight
            Weights of the two objectives; 0 switches one off.
        label_smoothing
            Label smoothing of the cell-type cross-entropy.
        max_masked
            Largest number of hidden genes of a batch that enter the softmax over the vocabulary.
        """
        parts: dict[str, Tensor] = {}
        total = inference_outputs["context"].sum() * 0.0
        if mgm_weight > 0:
            parts["mgm_loss"] = self._gene_loss(inference_outputs, max_masked)
            total = total + mgm_weight * parts["mgm_loss"]
        logits = generative_outputs.get("cell_type_logits")
        if logits is not None and classification_weight > 0:
            labels = tensors["labels"]
            parts["classification_loss"] = classification_loss(logits, labels, self.n_labels, label_smoothing)
            total = total + classification_weight * parts["classification_loss"]
            parts["accuracy"] = _accuracy(logits, labels)
        return LossOutput(loss=total, n_obs_minibatch=len(tensors["lengths"]), extra_metrics=parts)

    def _gene_loss(self, outputs: dict[str, Tensor], max_masked: int) -> Tensor:
        rows, columns = sample_positions(outputs["is_hidden"], max_masked)
        hidden = outputs["hidden"][rows, columns]
        logits = self.gene_head(hidden, outputs["context"][rows], self.encoder.embeddings.weight)
        return gene_loss(logits, outputs["targets"][rows, columns])

    def sample(self, *args: Any, **kwargs: Any) -> None:
        """Refuse to sample: the encoder defines no distribution over cells.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("GeneMamba encodes cells and defines no distribution to sample cells from.")


@torch.no_grad()
def _accuracy(logits: CellLogits, labels: Tensor) -> Tensor:
    labelled = (labels >= 0) & (labels < logits.shape[1])
    if not labelled.any():
        return logits.new_tensor(float("nan"))
    return (logits[labelled].argmax(dim=1) == labels[labelled]).float().mean()
