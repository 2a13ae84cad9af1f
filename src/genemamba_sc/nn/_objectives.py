"""Compute what pretraining minimises: a weighted sum of objectives that cannot be solved by copying the input."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from genemamba_sc._pathway_index import PathwayIndex
from genemamba_sc._types import Lengths, Mask, TokenIds, TokenValues
from genemamba_sc.nn._contrast import GeneContrast, disjoint_views, pathway_contrast, view_contrast
from genemamba_sc.nn._decode import CellDecoder
from genemamba_sc.nn._denoise import SpectralTeacher, denoise_loss
from genemamba_sc.nn._draws import Draws
from genemamba_sc.nn._encoder import BiMambaEncoder, EncoderOutput
from genemamba_sc.nn._heads import GeneHead
from genemamba_sc.nn._linear_cross_entropy import linear_cross_entropy
from genemamba_sc.nn._masking import mask_tokens
from genemamba_sc.nn._objective_config import ObjectiveConfig
from genemamba_sc.nn._spectral_head import SpectralHead


class ObjectiveOutput(NamedTuple):
    """``loss`` is the weighted sum of ``parts``, each before its weight; ``metrics`` have no gradient.

    A metric is NaN where the batch has nothing to measure it on.
    """

    loss: Float[Tensor, ""]
    parts: dict[str, Tensor]
    metrics: dict[str, Tensor]


class _Found(NamedTuple):
    """Hold what one pass over the cells gives: parts of the loss and metrics by name.

    ``anchor`` is 0 and has a gradient of 0 for everything that the pass computed: processes that train together wait
    for the gradient of every weight, including those that no part needed in this batch.
    """

    parts: dict[str, Tensor]
    metrics: dict[str, Tensor]
    anchor: Float[Tensor, ""]


class _HiddenGenes(NamedTuple):
    """The hidden genes that are scored: their states, pools, names and ranks; ``blanked`` where [MASK] stood."""

    hidden: Float[Tensor, "m d"]
    context: Float[Tensor, "m d"]
    genes: Int[Tensor, "m"]
    ranks: Int[Tensor, "m"]
    blanked: Bool[Tensor, "m"]


class PretrainingObjectives(nn.Module):
    """Hold an encoder and the objectives it is pretrained with.

    Masked genes pose another task here than in :class:`genemamba_sc.model.GeneMambaModule`. There the values of hidden
    genes stay visible. Here they are hidden too by default (``hide_values``), because a value could tell which gene it
    belongs to, and the softmax is computed in blocks. The losses of the two are not comparable.

    The loss is the weighted sum of up to six parts (see :class:`ObjectiveConfig`). ``mgm``, ``spectral``, ``decode``
    and ``pathway`` read one pass over cells with a share of their genes hidden; ``contrast`` and ``denoise`` read one
    pass over two parts of each cell that share no gene.

    Parameters
    ----------
    encoder
        The encoder to train. Its vocabulary ends with the genes, [CLS] and [MASK].
    config
        Weights and choices of the objectives.
    spectral
        Frozen spectral vectors of the genes, shape (v, d_spectral), for ``spectral`` and ``denoise``; the latter needs
        ``d_spectral`` equal to ``d_model``.
    pathways
        Which genes share a pathway, for ``pathway``; ``None`` leaves that part out.
    rank_genes
        Most frequent gene at each rank, shape (n_ranks,), to report the accuracy of always naming that gene; later
        ranks use the last entry.

    Raises
    ------
    ValueError
        If a part lacks what it needs, a table does not fit the vocabulary, or nothing would be learned.
    """

    pathway_rows: Tensor | None
    pathway_bits: Tensor | None
    rank_genes: Tensor | None

    def __init__(
        self,
        encoder: BiMambaEncoder,
        config: ObjectiveConfig,
        *,
        spectral: Tensor | None = None,
        pathways: PathwayIndex | None = None,
        rank_genes: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        width, size = encoder.config.d_model, encoder.config.vocab_size
        _check_tables(config, size, width, spectral, pathways)
        self.gene_head = GeneHead(width, size) if config.mgm_weight else None
        self.spectral_head = SpectralHead(width, spectral) if config.spectral_weight and spectral is not None else None
        self.decoder = CellDecoder(width, size) if config.decode_weight else None
        self.teacher = SpectralTeacher(spectral) if config.denoise_weight and spectral is not None else None
        # These are given, not learned: they move with the module and are not saved with it.
        used = pathways if config.pathway_weight else None
        self.register_buffer("pathway_rows", None if used is None else used.rows, persistent=False)
        self.register_buffer("pathway_bits", None if used is None else used.bits, persistent=False)
        self.register_buffer("rank_genes", rank_genes, persistent=False)

    @property
    def mask_id(self) -> int:
        """Token id of [MASK]: the last row of the gene table."""
        return self.encoder.config.vocab_size - 1

    @property
    def pathways(self) -> PathwayIndex | None:
        """Which genes share a pathway, where that part is on."""
        rows, bits = self.pathway_rows, self.pathway_bits
        return None if rows is None or bits is None else PathwayIndex(rows, bits)

    @torch.no_grad()
    def initialise_heads(self, log_frequency: Float[Tensor, "v"]) -> None:
        """Start the scores of the genes from their frequency, with unit spread around it.

        Parameters
        ----------
        log_frequency
            Log of how often each token occurs, shape (v,).
        """
        scale = self.encoder.embeddings.weight.square().sum(dim=1).mean().rsqrt()
        for head in (self.gene_head, self.decoder):
            if head is not None:
                head.bias.copy_(log_frequency)
                head.scale.fill_(scale)

    def forward(self, batch: dict[str, Tensor], generator: torch.Generator | None = None) -> ObjectiveOutput:
        """Compute the loss of a minibatch.

        Parameters
        ----------
        batch
            ``token_ids`` (b, l) int64, ``token_values`` (b, l) float32, ``lengths`` (b,) int64.
        generator
            Source of what is hidden and sampled; ``None`` takes the global stream. The token dropout of the encoder
            always draws from the global stream.
        """
        ids, values, lengths = batch["token_ids"], batch["token_values"], batch["lengths"]
        draws = Draws(ids.device, generator)
        passes: list[_Found] = []
        if self._reads_hidden_genes:
            passes.append(self._read_hidden_genes(ids, values, lengths, draws))
        if self.config.contrast_weight or self.teacher is not None:
            passes.append(self._compare_views(ids, values, lengths, draws))
        parts = {name: part for found in passes for name, part in found.parts.items()}
        metrics = {name: metric for found in passes for name, metric in found.metrics.items()}
        total = sum((found.anchor for found in passes), self.encoder.embeddings.weight.new_zeros(()))
        for name, part in parts.items():
            total = total + getattr(self.config, f"{name}_weight") * part
        return ObjectiveOutput(total, parts, metrics)

    @property
    def _reads_hidden_genes(self) -> bool:
        heads = (self.gene_head, self.spectral_head, self.decoder, self.pathways)
        return any(head is not None for head in heads)

    def _read_hidden_genes(self, ids: TokenIds, values: TokenValues, lengths: Lengths, draws: Draws) -> _Found:
        """Compute the parts that read cells with hidden genes."""
        config = self.config
        parts: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        masked = mask_tokens(
            ids,
            lengths,
            config.mask_rate,
            self.mask_id,
            span=config.mask_span,
            keep=config.keep_rate,
            swap=config.swap_rate,
            draws=draws,
        )
        if config.hide_values:
            values = values.masked_fill(masked.ids == self.mask_id, 0.0)
        output = self.encoder(masked.ids, values, lengths, visible=~masked.hidden)
        is_hidden = masked.hidden.gather(1, output.positions) & output.mask
        if self.gene_head is not None or self.spectral_head is not None:
            blanked = masked.ids == self.mask_id
            scored = self._score_genes(self._take_genes(output, ids, is_hidden, blanked, draws))
            parts, metrics = parts | scored[0], metrics | scored[1]
        if self.decoder is not None:
            decoded = self.decoder(output.cell, self.encoder.embeddings.weight, ids, lengths, masked.hidden)
            parts["decode"] = decoded.which + decoded.order
            metrics |= {"decode_which": decoded.which.detach(), "decode_order": decoded.order.detach()}
            metrics["decode_order_accuracy"] = decoded.accuracy
        if (pathways := self.pathways) is not None:
            compared = is_hidden if config.pathway_tokens == "hidden" else output.mask & ~is_hidden
            parts["pathway"], metrics["pathway_margin"] = self._contrast_genes(pathways, output, ids, compared, draws)
        return _Found(parts, metrics, (output.cell.sum() + output.context.sum()) * 0.0)

    def _take_genes(
        self, output: EncoderOutput, ids: TokenIds, is_hidden: Bool[Tensor, "b k"], blanked: Mask, draws: Draws
    ) -> _HiddenGenes:
        """Draw the hidden genes to score among those that the layers read."""
        rows, columns = is_hidden.nonzero(as_tuple=True)
        drawn = draws.subset(len(rows), self.config.max_masked)
        rows, columns = rows[drawn], columns[drawn]
        ranks = output.positions[rows, columns]
        return _HiddenGenes(
            output.hidden[rows, columns], output.context[rows], ids[rows, ranks], ranks, blanked[rows, ranks]
        )

    def _score_genes(self, genes: _HiddenGenes) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Name the hidden genes and predict where they lie in the spectral table; return parts and metrics."""
        parts: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        if self.gene_head is not None:
            query = self.gene_head.query(genes.hidden, genes.context)
            table = self.encoder.embeddings.weight
            parts["mgm"], predicted = linear_cross_entropy(query, table, self.gene_head.bias, genes.genes)
            metrics["masked_accuracy"] = _share(predicted == genes.genes, genes.blanked)
            if self.rank_genes is not None:
                usual = self.rank_genes[genes.ranks.clamp(max=len(self.rank_genes) - 1)]
                metrics["baseline_accuracy"] = _share(usual == genes.genes, genes.blanked)
        if self.spectral_head is not None:
            parts["spectral"], metrics["spectral_cosine"] = self.spectral_head(genes.hidden, genes.context, genes.genes)
        return parts, metrics

    def _contrast_genes(
        self, pathways: PathwayIndex, output: EncoderOutput, ids: TokenIds, compared: Bool[Tensor, "b k"], draws: Draws
    ) -> GeneContrast:
        genes = ids.gather(1, output.positions)
        rows, columns = (compared & pathways.known(genes)).nonzero(as_tuple=True)
        drawn = draws.subset(len(rows), self.config.max_anchors)
        rows, columns = rows[drawn], columns[drawn]
        return pathway_contrast(
            output.hidden[rows, columns], genes[rows, columns], pathways, self.config.pathway_temperature
        )

    def _compare_views(self, ids: TokenIds, values: TokenValues, lengths: Lengths, draws: Draws) -> _Found:
        """Compute the parts that compare two views of each cell."""
        parts: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        views = disjoint_views(ids, values, lengths, draws)
        output = self.encoder(views.ids, views.values, views.lengths)
        first, second = output.cell.chunk(2)
        valid = (views.lengths > 0).view(2, -1).all(dim=0)
        if self.config.contrast_weight:
            parts["contrast"], metrics["contrast_accuracy"] = view_contrast(
                first, second, valid, self.config.contrast_temperature
            )
        if self.teacher is not None:
            parts["denoise"] = denoise_loss(first, second, self.teacher(views.ids, views.values), valid)
        return _Found(parts, metrics, output.cell.sum() * 0.0)


def _share(right: Bool[Tensor, "m"], counted: Bool[Tensor, "m"]) -> Float[Tensor, ""]:
    """Return the share of the counted ones that are right; NaN where none is counted."""
    return (right & counted).sum() / counted.sum()


def _check_tables(
    config: ObjectiveConfig, size: int, width: int, spectral: Tensor | None, pathways: PathwayIndex | None
) -> None:
    for name in ("spectral_weight", "denoise_weight"):
        if getattr(config, name) and spectral is None:
            raise ValueError(
                f"{name}={getattr(config, name)} needs the spectral vectors of the genes. Got spectral=None. "
                f"Pass the table of spectral_gene_table as a tensor, or {name}=0."
            )
    if config.denoise_weight and spectral is not None and spectral.shape[1] != width:
        raise ValueError(
            f"denoise_weight needs spectral vectors as wide as the encoder, d_model={width}. Got {spectral.shape[1]}. "
            "Make the table with d_model columns."
        )
    if spectral is not None and len(spectral) != size:
        raise ValueError(
            f"spectral must have a row for each of the {size} tokens. Got {len(spectral)}. "
            "Make it with the vocabulary of the encoder."
        )
    if pathways is not None and len(pathways.rows) != size:
        raise ValueError(
            f"pathways must know each of the {size} tokens. Got {len(pathways.rows)}. "
            "Read the pathways with the vocabulary of the encoder."
        )
    others = ("mgm_weight", "spectral_weight", "decode_weight", "contrast_weight", "denoise_weight")
    if pathways is None and not any(getattr(config, name) for name in others):
        raise ValueError(
            f"pathway_weight={config.pathway_weight} alone needs pathways. Got pathways=None: nothing would be "
            "learned. Pass PathwaySet.from_gmt(...).index(), or give another part a weight."
        )
