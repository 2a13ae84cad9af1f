"""Measure how much of a prediction was visible in the input: take one direction or the target away.

A bidirectional encoder that is trained to name the next token has already read it, from right to left. Whether its
accuracy comes from there shows when that direction is switched off, or when the token is hidden.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from genemamba_sc._types import Lengths, TokenIds, TokenValues
from genemamba_sc.data import Tokens, take_tokens
from genemamba_sc.data.tokens._batches import to_batch
from genemamba_sc.nn import BiMambaEncoder, GeneHead, Reading

READINGS: tuple[Reading, ...] = ("both", "left to right", "right to left", "none")

_HIDDEN_SHARE = 0.15
_CELLS_AT_ONCE = 4
# Number of positions that are scored: enough for a percent, few enough for a softmax over all genes.
_MOST = 4_000


@dataclass(frozen=True)
class Score:
    """Tell how well tokens are named.

    Parameters
    ----------
    accuracy
        Share of targets that get the highest score.
    loss
        Mean cross-entropy, in nats.
    """

    accuracy: float
    loss: float


@dataclass(frozen=True)
class LeakReport:
    """Compare accuracy at the same positions, with more and less of the target visible.

    Parameters
    ----------
    n_cells, n_positions
        Number of cells and of positions that were scored.
    next_token
        Scores of the next token by what the layers read: ``"both"`` directions, ``"left to right"``,
        ``"right to left"``, ``"none"``; and ``"target hidden"``, which reads both directions with [MASK] in place of
        the target. It is empty where the head names hidden tokens only.
    same_token
        Scores of the token at its own position, ``"visible"`` and ``"hidden"`` behind [MASK].
    most_frequent
        Accuracy of always naming the token that is most frequent among the targets.
    layer_effect
        Distance of the hidden states from those without layers, divided by the size of the latter.
    """

    n_cells: int
    n_positions: int
    next_token: dict[str, Score]
    same_token: dict[str, Score]
    most_frequent: float
    layer_effect: float

    def __str__(self) -> str:
        lines = [f"{self.n_positions:,} tokens of {self.n_cells} cells; most frequent token {self.most_frequent:.1%}"]
        for title, scores in (("next token", self.next_token), ("same token", self.same_token)):
            for name, score in scores.items():
                reading = f"read {name}" if name in READINGS else name
                lines.append(f"{title}, {reading:20} accuracy {score.accuracy:6.1%}  loss {score.loss:.3f}")
        lines.append(f"layers move the hidden states by {self.layer_effect:.1%} of their size")
        return "\n".join(lines)


@torch.inference_mode()
def measure_leak(encoder: BiMambaEncoder, head: dict[str, Tensor], tokens: Tokens, seed: int = 0) -> LeakReport | None:
    """Score a checkpoint with and without what it should not see.

    Parameters
    ----------
    encoder
        The encoder, in evaluation mode.
    head
        ``weight`` and ``bias`` of an output layer, or the weights of :class:`genemamba_sc.nn.GeneHead`.
    tokens
        Cells whose tokens are predicted.
    seed
        Seed of the positions.

    Returns
    -------
    The report; ``None`` where there is no head to name tokens with.

    Raises
    ------
    ValueError
        If no cell has two tokens.
    """
    if "weight" not in head and "from_hidden.weight" not in head:
        return None
    generator = torch.Generator().manual_seed(seed)
    scorer = _Scorer(encoder, head)
    for start in range(0, len(tokens.lengths), _CELLS_AT_ONCE):
        rows = np.arange(start, min(start + _CELLS_AT_ONCE, len(tokens.lengths)))
        batch = to_batch(take_tokens(tokens, rows))
        scorer.add(batch["token_ids"], batch["token_values"], batch["lengths"], generator)
    return scorer.report(len(tokens.lengths))


class _Scorer:
    """Collect scores over batches."""

    def __init__(self, encoder: BiMambaEncoder, head: dict[str, Tensor]) -> None:
        self.encoder = encoder
        self.linear = head if "weight" in head else None
        self.gene_head = None if self.linear else GeneHead(encoder.config.d_model, encoder.config.vocab_size)
        if self.gene_head is not None:
            self.gene_head.load_state_dict(head)
        self.sums: dict[str, tuple[int, float]] = {}
        self.targets: list[Tensor] = []
        self.moved, self.size = 0.0, 0.0

    def add(self, ids: TokenIds, values: TokenValues, lengths: Lengths, generator: torch.Generator) -> None:
        """Score a batch, (b, l), at the same positions every time, each of which has a token before it."""
        k = min(ids.shape[1], self.encoder.config.context_len or ids.shape[1])
        positions = torch.arange(ids.shape[1])
        able = (positions > 0) & (positions < lengths.clamp(max=k)[:, None])
        chosen = able & (torch.rand(ids.shape, generator=generator) < _HIDDEN_SHARE)
        room = _MOST - sum(map(len, self.targets))
        # At least one position is scored: short cells must not go without any.
        chosen = chosen if chosen.any() else able & (able.cumsum(1) == 1)
        rows, columns = (index[:room] for index in chosen.nonzero(as_tuple=True))
        if len(rows) == 0:
            return
        targets = ids[rows, columns]
        self.targets.append(targets)
        picked = torch.zeros_like(chosen)
        picked[rows, columns] = True
        masked = ids.masked_fill(picked, self.encoder.config.vocab_size - 1)
        if self.linear is not None:
            self._add_next(ids, masked, values, lengths, rows=rows, columns=columns, targets=targets)
        for name, seen in (("visible", ids), ("hidden", masked)):
            output = self.encoder(seen, values, lengths, visible=~picked if name == "hidden" else None)
            logits = self._name(output.hidden[rows, columns], output.context[rows])
            self._count(f"same:{name}", logits, targets)
        self._add_effect(ids, values, lengths)

    def _add_next(
        self, ids: TokenIds, masked: TokenIds, values: TokenValues, lengths: Lengths, *, rows: Tensor, columns: Tensor,
        targets: Tensor,
    ) -> None:  # fmt: skip
        for reading in READINGS:
            hidden = self.encoder(ids, values, lengths, reading=reading).hidden
            self._count(f"next:{reading}", self._name(hidden[rows, columns - 1], None), targets)
        hidden = self.encoder(masked, values, lengths, reading="both").hidden
        self._count("next:target hidden", self._name(hidden[rows, columns - 1], None), targets)

    def _add_effect(self, ids: TokenIds, values: TokenValues, lengths: Lengths) -> None:
        with_layers = self.encoder(ids, values, lengths, reading="both").hidden
        without = self.encoder(ids, values, lengths, reading="none").hidden
        self.moved += float((with_layers - without).square().sum())
        self.size += float(without.square().sum())

    def _name(self, hidden: Tensor, context: Tensor | None) -> Tensor:
        if self.linear is not None:
            return F.linear(hidden, self.linear["weight"], self.linear.get("bias"))
        assert self.gene_head is not None  # one of the two kinds, see __init__
        return self.gene_head(hidden, hidden if context is None else context, self.encoder.embeddings.weight)

    def _count(self, name: str, logits: Tensor, targets: Tensor) -> None:
        right, loss = self.sums.get(name, (0, 0.0))
        right += int((logits.argmax(1) == targets).sum())
        self.sums[name] = right, loss + float(F.cross_entropy(logits, targets, reduction="sum"))

    def report(self, n_cells: int) -> LeakReport:
        """Turn the sums into scores."""
        if not self.targets:
            raise ValueError("A next token needs cells of at least two tokens. Got none. Pass cells with more genes.")
        targets = torch.cat(self.targets)
        n = len(targets)
        scores = {name: Score(right / n, loss / n) for name, (right, loss) in self.sums.items()}
        return LeakReport(
            n_cells=n_cells,
            n_positions=n,
            next_token={name[5:]: score for name, score in scores.items() if name.startswith("next:")},
            same_token={name[5:]: score for name, score in scores.items() if name.startswith("same:")},
            most_frequent=float(torch.bincount(targets).max()) / n,
            layer_effect=(self.moved / max(self.size, 1e-30)) ** 0.5,
        )
