"""Go on pretraining `mini` with the types of other studies, one set left out: does the encoder earn its cost?

    python benchmarks/annotation/supervised.py --target pbmc3k --start runs/without_pbmc3k --out runs/supervised_pbmc3k

`--start` are weights that `benchmarks/pretraining/mini.py --without TARGET` wrote, so that no cell of the target was
seen, labelled or not. With `--n-layer 0` the layer is taken away: the bag of tokens. A step reads as many cells of each
study. Its loss is the cross-entropy of the fine type and of the broad one, whose probability is the sum over its fine
types; with `--recipe '{"contrast": 0.5}'` also a contrast: a cell is drawn to those of its type in *other* studies. In
half of the cells of a step only a random part of the genes is read, as of a study with a panel.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from ontology import BROAD, FINE, PANEL, SETS, STUDY, UNKNOWN, parents, references
from sets import load_set
from torch import Tensor, nn
from torch.nn import functional as F

from genemamba_sc import GeneVocabulary, Pretrained, check_contamination, read_pretrained, write_pretrained
from genemamba_sc.data import Tokens, query_source, take_tokens, to_batch
from genemamba_sc.nn import BiMambaEncoder

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "pretraining"))
from corpus import stacked

NO_TYPE = -1


@dataclass(frozen=True)
class Recipe:
    """Choices of a run; those of the loss were made on `pbmc_chemistries`, which is no target."""

    steps: int = 100
    cells: int = 128
    head_lr: float = 1e-2
    layer_lr: float = 1e-3
    table_lr: float = 1e-3
    weight_decay: float = 0.05
    contrast: float = 0.0
    temperature: float = 0.1
    least_genes: float = 0.1
    most_cells: int = 3000
    panel_studies: bool = True
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Labelled:
    """Tokens of the references, with codes of their types and studies."""

    tokens: Tokens
    fine: Tensor
    broad: Tensor
    study: np.ndarray


class TypeHead(nn.Module):
    """Scores of the fine types; the probability of a broad one is the sum over its fine types."""

    def __init__(self, width: int, fine: list[str]) -> None:
        super().__init__()
        self.fine, self.broad = fine, sorted({parents()[name] for name in fine})
        self.linear = nn.Linear(width, len(fine))
        self.register_buffer("parent", torch.tensor([self.broad.index(parents()[name]) for name in fine]))

    def forward(self, z: Tensor) -> Tensor:
        """Log-probabilities of the fine types, (b, c)."""
        return self.linear(z).log_softmax(dim=1)

    def broader(self, log_fine: Tensor) -> Tensor:
        """Log-probabilities of the broad types, (b, k)."""
        own = torch.arange(len(self.broad))[:, None] == self.parent
        return torch.where(own, log_fine[:, None, :], -torch.inf).logsumexp(dim=2)


def study_contrast(z: Tensor, types: Tensor, studies: Tensor, temperature: float) -> Tensor:
    """Supervised contrast (Khosla et al., arXiv 2004.11362) whose positives are cells of the type in other studies.

    Negatives are cells of other types, wherever they are. A cell of the same type and study is neither, and a cell
    without a type takes no part. 0 where no cell has both.
    """
    z, types, studies = (values[types != NO_TYPE] for values in (z, types, studies))
    same, elsewhere = types[:, None] == types, studies[:, None] != studies
    positive, negative = same & elsewhere, ~same
    anchors = positive.any(dim=1) & negative.any(dim=1)
    if not bool(anchors.any()):
        return z.sum() * 0.0
    unit = F.normalize(z, dim=1)
    positive = positive[anchors]
    scores = (unit[anchors] @ unit.T / temperature).masked_fill(~(positive | negative[anchors]), -torch.inf)
    share = scores.log_softmax(dim=1).masked_fill(~positive, 0.0)
    return -(share.sum(dim=1) / positive.sum(dim=1)).mean()


def labelled(target: str, vocabulary: GeneVocabulary, max_len: int, recipe: Recipe) -> tuple[Labelled, list[str]]:
    """Cells of the references of a target, and the names of the fine types."""
    parts = references(target, recipe.most_cells, recipe.seed)
    if not recipe.panel_studies:
        most = max(part.n_vars for part in parts.values())
        parts = {name: part for name, part in parts.items() if part.n_vars >= PANEL * most}
    tokens = [query_source(part, vocabulary, max_len, {}).tokens(np.arange(part.n_obs)) for part in parts.values()]
    fine, broad, study = (np.concatenate([part.obs[key] for part in parts.values()]) for key in (FINE, BROAD, STUDY))
    names = sorted(set(fine) - {UNKNOWN})
    return Labelled(stacked(tokens), codes(fine, names), codes(broad, sorted(set(broad))), study), names


def codes(values: np.ndarray, names: list[str]) -> Tensor:
    return torch.tensor([names.index(value) if value in names else NO_TYPE for value in values])


def on_panel(tokens: Tokens, cells: np.ndarray, kept: np.ndarray, medians: np.ndarray) -> Tokens:
    """What a study that measured only the genes ``kept`` would have read of these cells; the others stay."""
    real = np.arange(tokens.ids.shape[1]) < tokens.lengths[:, None]
    stays = real & (kept[tokens.ids] | ~cells[:, None])
    counts = np.where(real, tokens.values * medians[tokens.ids], 0.0)
    total = np.maximum((counts * stays).sum(axis=1) / np.maximum(counts.sum(axis=1), 1e-12), 1e-12)
    order = np.argsort(~stays, axis=1, kind="stable")
    lengths = stays.sum(axis=1)
    ids, values = (np.take_along_axis(array, order, axis=1) for array in (tokens.ids, tokens.values / total[:, None]))
    pad = np.arange(ids.shape[1]) >= lengths[:, None]
    ids, values = np.where(pad, 1, ids).astype(tokens.ids.dtype), np.where(pad, 0, values).astype(tokens.values.dtype)
    width = max(1, int(lengths.max()))
    return Tokens(ids[:, :width], values[:, :width], lengths.astype(tokens.lengths.dtype))


def optimiser(encoder: BiMambaEncoder, head: TypeHead, recipe: Recipe) -> torch.optim.Optimizer:
    table = encoder.embeddings.weight
    layers = [weight for weight in encoder.parameters() if weight is not table]
    groups = [
        {"params": head.parameters(), "lr": recipe.head_lr},
        {"params": layers, "lr": recipe.layer_lr},
        {"params": [table], "lr": recipe.table_lr, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))


def loss_of(z: Tensor, head: TypeHead, cells: Labelled, rows: np.ndarray, recipe: Recipe) -> Tensor:
    fine, broad = cells.fine[rows], cells.broad[rows]
    log_fine = head(z)
    studies = torch.from_numpy(np.unique(cells.study[rows], return_inverse=True)[1])
    return (
        F.nll_loss(log_fine, fine, ignore_index=NO_TYPE)
        + F.nll_loss(head.broader(log_fine), broad)
        + recipe.contrast * study_contrast(z, fine, studies, recipe.temperature)
    )


def train(found: Pretrained, cells: Labelled, names: list[str], recipe: Recipe) -> tuple[BiMambaEncoder, TypeHead]:
    """The encoder and its head after all steps."""
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    encoder, head = BiMambaEncoder(found.encoder_config), TypeHead(found.encoder_config.d_model, names)
    encoder.load_state_dict(found.encoder)
    steps = optimiser(encoder, head, recipe)
    shape = torch.optim.lr_scheduler.LambdaLR(steps, lambda i: 0.5 * (1 + np.cos(np.pi * i / recipe.steps)))
    of_study = [np.flatnonzero(cells.study == name) for name in np.unique(cells.study)]
    medians = found.vocabulary.token_medians
    for _ in range(recipe.steps):
        rows = np.concatenate([rng.choice(own, recipe.cells // len(of_study), replace=False) for own in of_study])
        kept = rng.random(len(medians)) < recipe.least_genes ** rng.random()
        tokens = on_panel(take_tokens(cells.tokens, rows), rng.random(len(rows)) < 0.5, kept, medians)
        batch = to_batch(tokens)
        z = encoder(batch["token_ids"], batch["token_values"], batch["lengths"]).cell
        loss = loss_of(z, head, cells, rows, recipe)
        steps.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*encoder.parameters(), *head.parameters()], 1.0)
        steps.step()
        shape.step()
    return encoder.eval(), head.eval()


def without_layers(found: Pretrained) -> Pretrained:
    """The bag of tokens of the same weights."""
    encoder = {name: value for name, value in found.encoder.items() if not name.startswith("layers.")}
    return replace(found, encoder_config=replace(found.encoder_config, n_layer=0), encoder=encoder)


def write(folder: Path, found: Pretrained, encoder: BiMambaEncoder, head: TypeHead, about: dict[str, object]) -> None:
    """Weights that `GeneMambaModel.from_pretrained` reads, and the head beside them."""
    state = {name: value.detach() for name, value in encoder.state_dict().items()}
    manifest = {**found.manifest, "supervised": about}
    write_pretrained(folder, replace(found, encoder=state, manifest=manifest, evaluation=[]), overwrite=True)
    weight, bias = (value.detach().numpy() for value in (head.linear.weight, head.linear.bias))
    np.savez(f"{folder}.head.npz", weight=weight, bias=bias, fine=np.array(head.fine))


def check_unseen(target: str, start: Pretrained) -> None:
    """Refuse weights that know cells of the target."""
    report = check_contamination(load_set(target), start)
    exact, near = int(report.exact.sum()), int(report.near.sum())
    if exact or near > report.expected_near:  # so many are near by chance
        raise SystemExit(
            f"The start must not know the target. {exact} of {report.n_cells} cells of {target} are in its corpus, and "
            f"{near} nearly so. "
            f"Make it by mini.py --without {target}."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=SETS, required=True)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n-layer", type=int, choices=(0, 1), default=1)
    parser.add_argument("--recipe", default="{}", help=f"JSON: {', '.join(field.name for field in fields(Recipe))}")
    options = parser.parse_args()
    recipe, found = Recipe(**json.loads(options.recipe)), read_pretrained(options.start)
    check_unseen(options.target, found)
    if options.n_layer == 0:
        found = without_layers(found)
    cells, names = labelled(options.target, found.vocabulary, found.max_len, recipe)
    encoder, head = train(found, cells, names, recipe)
    sizes = {name: int((cells.study == name).sum()) for name in np.unique(cells.study)}
    write(options.out, found, encoder, head, {"without": options.target, "recipe": asdict(recipe), "cells": sizes})


if __name__ == "__main__":
    main()
