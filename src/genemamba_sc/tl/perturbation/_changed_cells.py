"""Compute what changes of single genes do to embeddings and types, without encoding what they leave alone.

The pool of a cell is a sum over its tokens, and so are the scores of markers and programs. A gene that leaves or moves
beyond the tokens that the layers read changes these sums by one term. Otherwise the layers read the head of the list
again, and the sum over the rest of the list stays.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from genemamba_sc.data import Tokens, to_batch
from genemamba_sc.model import GeneMambaModule
from genemamba_sc.nn import Embedder
from genemamba_sc.tl.perturbation._changes import Changes

# Padded tokens that the layers read at once.
_TOKEN_BUDGET = 16_384


@dataclass(frozen=True, eq=False)
class Sums:
    """Hold what embedding and type scores of ``m`` cells are made of.

    Parameters
    ----------
    bag
        Sum of the weighted table rows of all tokens, shape (m, d); not read where the norm is per token.
    layers
        What the layers add to that sum, shape (m, d); the sum of the hidden states where the norm is per token.
    context
        Pool of the tokens that the layers read, shape (m, d).
    markers, programs
        Sums of the scores of the types, shape (m, c): of markers, and of programs before the division by ``level``.
    level
        Sum of the levels, shape (m,).
    lengths
        Number of tokens, shape (m,).
    """

    bag: Tensor
    layers: Tensor
    context: Tensor
    markers: Tensor
    programs: Tensor
    level: Tensor
    lengths: Tensor

    def take(self, rows: Tensor) -> "Sums":
        """Take the cells ``rows``."""
        return Sums(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


class ChangedCells:
    """Hold a block of cells, and answer what changes do to them; call it under ``torch.inference_mode``.

    Parameters
    ----------
    module
        The module, in evaluation mode.
    embedder
        That of its encoder.
    tokens
        Tokens of the block.
    """

    def __init__(self, module: GeneMambaModule, embedder: Embedder, tokens: Tokens) -> None:
        self.module, self.embedder, self.tokens, self.encoder = module, embedder, tokens, module.encoder
        self.per_token = module.encoder_config.norm == "token"
        self.reach = module.encoder_config.context_len or tokens.ids.shape[1] + 1
        self.sums = self._sums(tokens)
        self.cell, self.logits = self._finish(self.sums)

    def after(self, changes: Changes) -> tuple[Tensor, Tensor]:
        """Return embeddings (m, d) and scores of the types (m, c) after the changes.

        Parameters
        ----------
        changes
            Changes of cells of the block.
        """
        sums = self._moved(changes)
        read = torch.from_numpy(changes.first_place() < self.reach).nonzero()[:, 0]
        at_once = max(1, _TOKEN_BUDGET // max(1, min(self.reach, self.tokens.ids.shape[1] + 1)))
        parts = read.split(at_once)

        @torch.inference_mode()  # each thread has to enter it
        def of_part(part: Tensor) -> tuple[Tensor, Tensor]:
            return self._read(changes.take(part.numpy()).applied(self.tokens, self.reach))

        # The compiled kernels take one thread; anything else has its own, and what is set for this one.
        n_threads = min(len(parts), torch.get_num_threads()) if self.embedder.is_compiled else 1
        with ThreadPoolExecutor(n_threads) if n_threads > 1 else nullcontext() as threads:
            answers = map(of_part, parts) if threads is None else threads.map(of_part, parts)
            for part, (layers, context) in zip(parts, answers):
                sums.layers[part], sums.context[part] = layers, context
        return self._finish(sums)

    def _moved(self, changes: Changes) -> Sums:
        """Add what arrives to the sums and subtract what leaves."""
        rows, genes = self._tensor(changes.rows), self._tensor(changes.genes)
        gone, comes = self._tensor(changes.leaves >= 0), self._tensor(changes.arrives >= 0)
        before = self._tensor(self.tokens.values[changes.rows, changes.leaves.clip(0)]) * gone
        after = self._tensor(changes.values) * comes
        sums = self.sums.take(rows)
        weight = self._weight(after[:, None])[:, 0] * comes - self._weight(before[:, None])[:, 0] * gone
        # Beside the bag these are 0 where a gene is not there: log1p(0) = 0.
        level = torch.log1p(after) - torch.log1p(before)
        bag = sums.bag + weight[:, None] * self.encoder.embeddings.weight[genes]
        markers, programs = sums.markers, sums.programs
        if self.module.cell_type_head is not None:
            head = self.module.cell_type_head
            median = head.medians[genes]
            expressed = torch.log1p(after * median) - torch.log1p(before * median)
            markers = markers + expressed[:, None] * head.markers[genes]
            programs = programs + level[:, None] * head.programs[genes]
        lengths = sums.lengths + comes.long() - gone.long()
        return Sums(bag, sums.layers, sums.context, markers, programs, sums.level + level, lengths)

    def _sums(self, tokens: Tokens) -> Sums:
        batch = {name: value.to(self.module.device) for name, value in to_batch(tokens).items()}
        ids, values, lengths = batch["token_ids"], batch["token_values"], batch["lengths"]
        layers, context = self._read(tokens)
        level = torch.log1p(values)
        markers = programs = level.new_zeros(len(ids), 0)
        if self.module.cell_type_head is not None:
            head = self.module.cell_type_head
            expressed = torch.log1p(values * head.medians[ids])
            markers = F.embedding_bag(ids, head.markers, mode="sum", per_sample_weights=expressed)
            programs = F.embedding_bag(ids, head.programs, mode="sum", per_sample_weights=level)
        bag = self.encoder.bag(ids, values, lengths)
        return Sums(bag, layers, context, markers, programs, level.sum(dim=1), lengths)

    def _read(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Return what the layers add to the sum of the tokens, and the context, (b, d) each."""
        batch = {name: value.to(self.module.device) for name, value in to_batch(tokens).items()}
        read = self.embedder.read(batch["token_ids"], batch["token_values"], batch["lengths"])
        return (read.hidden if self.per_token else read.hidden - read.bag), read.context

    def _weight(self, values: Tensor) -> Tensor:
        return torch.ones_like(values) if self.encoder.expression is None else self.encoder.expression(values)

    def _finish(self, sums: Sums) -> tuple[Tensor, Tensor]:
        # Where no token is left, the sums hold rounding errors, which norm and shares would blow up.
        filled = (sums.lengths > 0)[:, None]
        n = sums.lengths.clamp(min=1)[:, None]
        cell = sums.layers / n if self.per_token else self.encoder.norm_f((sums.bag + sums.layers) / n)
        head = self.module.cell_type_head
        if head is None:
            return cell * filled, sums.markers
        shares = sums.programs / sums.level.clamp(min=torch.finfo(sums.level.dtype).tiny)[:, None] * filled
        return cell * filled, head(sums.context, sums.markers + shares + head.marker_bias)

    def _tensor(self, array: object) -> Tensor:
        return torch.as_tensor(array, device=self.module.device)
