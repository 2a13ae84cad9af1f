"""Say it where pretrained weights know no more of somebody's cells than random gene vectors do."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from genemamba_sc._warn import warn
from genemamba_sc.data import CellSource, GeneVocabulary, Tokens, length_batches, take_tokens, to_batch
from genemamba_sc.data.tokens._token_parts import first_tokens
from genemamba_sc.model._random_vectors import FEWEST_CELLS, compare_with_random
from genemamba_sc.nn import BiMambaEncoder

# Cells and tokens of a cell that are looked at; fewer where the layers are large, and every token costs much.
_SMALL, _LARGE = (200, 512), (64, 128)
_LARGE_LAYERS = 2_000_000
_TOKEN_BUDGET = 16_384


def doubt_once(model: Any, source: CellSource) -> None:
    """Compare weights as they were loaded on the first 60 cells or more that the model meets, and warn if need be.

    Parameters
    ----------
    model
        The model; one that was trained since is not asked.
    source
        Source of the cells.
    """
    if not model._doubts_open or source.n_obs < FEWEST_CELLS:
        return
    name = model.origin.name or "this model"
    is_settled = model.is_trained_ or warn_if_no_better(model.module.encoder, source, model._vocabulary, name)
    model._doubts_open = not is_settled


def warn_if_no_better(encoder: BiMambaEncoder, source: CellSource, vocabulary: GeneVocabulary, origin: str) -> bool:
    """Warn where embeddings of up to 200 cells tell no more than sums of random gene vectors, or are all alike.

    Nothing is said of fewer than 60 cells with genes in both halves of the genes, nor of cells whose expression itself
    foretells nothing.

    Parameters
    ----------
    encoder
        The pretrained encoder.
    source
        Source of the cells.
    vocabulary
        The genes of the encoder.
    origin
        Name of the weights.

    Returns
    -------
    Whether these cells could tell.

    Raises
    ------
    ValueError
        If an embedding is not finite.

    Warns
    -----
    UserWarning
        If the weights are no better.
    """
    n_cells, n_tokens = _SMALL if _size_of_layers(encoder) < _LARGE_LAYERS else _LARGE
    rows = np.sort(np.random.default_rng(0).permutation(source.n_obs)[:n_cells])
    tokens = first_tokens(source.tokens(rows), n_tokens)
    found = compare_with_random(lambda part: encode_tokens(encoder, part), tokens, vocabulary)
    if found is None or found.verdict == "cannot tell":
        return False
    if found.verdict == "better":
        return True
    seen = (
        f"all of {found.n_cells} cells have nearly the same embedding"
        if found.verdict == "collapsed"
        else f"from half of the genes of {found.n_cells} cells they foretell {found.foretold:.2f} of the variance of "
        f"the other half, random gene vectors {found.foretold_random.mean():.2f}"
    )
    warn(
        f"Pretrained weights should tell more of these cells than random gene vectors. Those of {origin} do not: "
        f"{seen}. Print gm.checkpoint_report(NAME, adata, labels_key=...) before you use them."
    )
    return True


@torch.inference_mode()
def encode_tokens(encoder: BiMambaEncoder, tokens: Tokens) -> Float32[np.ndarray, "n d"]:
    """Embed tokens with an encoder, which does not train meanwhile, on the device it is on.

    Parameters
    ----------
    encoder
        The encoder.
    tokens
        Tokens of n cells.
    """
    was_training, device = encoder.training, encoder.embeddings.weight.device
    encoder.eval()
    result = np.empty((len(tokens.lengths), encoder.config.d_model), dtype=np.float32)
    try:
        for rows in length_batches(tokens.lengths, _TOKEN_BUDGET):
            batch = {name: value.to(device) for name, value in to_batch(take_tokens(tokens, rows)).items()}
            read = encoder(batch["token_ids"], batch["token_values"], batch["lengths"])
            result[rows] = read.cell.float().cpu().numpy()
    finally:
        encoder.train(was_training)
    return result


def _size_of_layers(encoder: BiMambaEncoder) -> int:
    return sum(values.numel() for values in encoder.parameters()) - encoder.embeddings.weight.numel()
