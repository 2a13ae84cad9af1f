"""Store cells beside a checkpoint with the embeddings it gives them, so that any machine can compare."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy import sparse
from torch import Tensor

from genemamba_sc._bins import BINS_PER_OCTAVE
from genemamba_sc._digests import sha256_of
from genemamba_sc._files import replacing_file
from genemamba_sc._json import quoted
from genemamba_sc.data import RankTokenizer, Tokens
from genemamba_sc.data.tokens._batches import to_batch
from genemamba_sc.nn import BiMambaEncoder
from genemamba_sc.nn._mamba2 import Mamba2Mixer
from genemamba_sc.weights._folder import WEIGHTS_FILE
from genemamba_sc.weights._own import SELFTEST_FILE
from genemamba_sc.weights._read import Pretrained, read_pretrained

# The metadata has one entry: several would be written in another order each time.
_FACTS = "selftest"
# Arrays of the file: which types they may have, and how many axes.
_LAYOUT = {
    "values": (("float32",), 1),
    "genes": (("uint16", "int32"), 1),
    "starts": (("int32",), 1),
    "ids": (("uint16", "int32"), 2),
    "lengths": (("int32",), 1),
    "embeddings": (("float32",), 2),
}
_ARRAYS = tuple(_LAYOUT)
# Distance in half-octaves. Nearer to an edge, the logarithm of another device may fall into the next bin of the
# encoder.
_NEAR_EDGE = 1e-3


@dataclass(frozen=True, eq=False)
class ReferenceCells:
    """Hold cells, their tokens, and their embeddings, which the reference computed in float64.

    Parameters
    ----------
    expression, columns
        Linear expression of ``b`` cells, and the token of each column.
    ids, lengths
        Tokens of the cells, shape ``(b, l)`` and ``(b,)``.
    embeddings
        Embeddings, shape ``(b, d)``.
    """

    expression: sparse.csr_matrix
    columns: Int32[np.ndarray, "n_vars"]
    ids: Int32[np.ndarray, "b l"]
    lengths: Int32[np.ndarray, "b"]
    embeddings: Float32[np.ndarray, "b d"]


def tokens_of(pretrained: Pretrained, expression: sparse.csr_matrix, columns: Int32[np.ndarray, "v"]) -> Tokens:
    """Tokenise cells as the weights read them.

    Parameters
    ----------
    pretrained
        The weights.
    expression, columns
        As in :class:`ReferenceCells`.
    """
    return RankTokenizer(pretrained.vocabulary, pretrained.max_len)(expression, columns)


@torch.inference_mode()
def embed_tokens(
    pretrained: Pretrained,
    tokens: Tokens,
    device: torch.device,
    backend: str,
    dtype: torch.dtype,
) -> Tensor:
    """Embed cells with one backend on one device.

    Parameters
    ----------
    pretrained
        The weights.
    tokens
        Tokens of ``b`` cells.
    device, backend
        Where to compute, and by which implementation of the mixer.
    dtype
        float32 or float64 for everything, or a half precision for autocast.

    Returns
    -------
    The embeddings, shape ``(b, d)``, in float64, on the CPU.
    """
    is_half = dtype not in (torch.float32, torch.float64)
    # On the meta device no random numbers are drawn for weights that are replaced at once.
    with torch.device("meta"):
        encoder = BiMambaEncoder(pretrained.encoder_config)
    encoder.load_state_dict(pretrained.encoder, assign=True)
    encoder.to(device, torch.float32 if is_half else dtype).eval()
    for module in encoder.modules():
        if isinstance(module, Mamba2Mixer):
            module.backend = backend
    batch = {name: tensor.to(device) for name, tensor in to_batch(tokens).items()}
    with torch.autocast(device.type, dtype if is_half else torch.bfloat16, enabled=is_half):
        cell = encoder(batch["token_ids"], batch["token_values"], batch["lengths"]).cell
    return cell.cpu().double()


def write_reference_cells(
    folder: Path, expression: sparse.csr_matrix, columns: Int32[np.ndarray, "v"], n_cells: int
) -> Path:
    """Write ``selftest.safetensors`` beside a checkpoint.

    Parameters
    ----------
    folder
        Folder of the checkpoint.
    expression
        Linear expression of the cells to choose from.
    columns
        Token of each column in the vocabulary of the checkpoint; ``UNK_ID`` where it has none.
    n_cells
        Number of cells to keep, spread evenly over those whose values lie well within the bins of the encoder.

    Returns
    -------
    Path of the file.

    Raises
    ------
    ValueError
        If too few cells are suitable.
    """
    pretrained = read_pretrained(folder)
    all_cells = sparse.csr_matrix(expression, dtype=np.float32)
    fit = np.flatnonzero(_is_fit(tokens_of(pretrained, all_cells, columns)))
    if len(fit) < n_cells:
        raise ValueError(f"{n_cells} cells are to be kept. Got {len(fit)} fit ones. Pass more cells, or keep fewer.")
    kept = all_cells[fit[np.linspace(0, len(fit) - 1, n_cells).astype(int)]]
    tokens = tokens_of(pretrained, kept, columns)
    truth = embed_tokens(pretrained, tokens, torch.device("cpu"), "reference", torch.float64)
    kind = np.uint16 if pretrained.vocabulary.size <= 1 << 16 else np.int32
    arrays = {
        "values": kept.data,
        "genes": columns[kept.indices].astype(kind),
        "starts": kept.indptr.astype(np.int32),
        "ids": tokens.ids.astype(kind),
        "lengths": tokens.lengths,
        "embeddings": truth.float().numpy(),
    }
    facts = json.dumps({"weights_sha256": sha256_of(folder / WEIGHTS_FILE), "arrays_sha256": _digest(arrays)})
    with replacing_file(folder / SELFTEST_FILE) as temporary:
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, temporary, metadata={_FACTS: facts})
    return folder / SELFTEST_FILE


def read_reference_cells(folder: Path) -> ReferenceCells:
    """Read what :func:`write_reference_cells` wrote.

    Parameters
    ----------
    folder
        Folder of the checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or belongs to other weights.
    """
    path = folder / SELFTEST_FILE
    if not path.is_file():
        raise FileNotFoundError(f"no {SELFTEST_FILE} lies beside the weights; benchmarks/pretraining writes one")
    try:
        with safe_open(path, framework="numpy") as stream:
            facts = json.loads((stream.metadata() or {})[_FACTS])
            arrays = {name: stream.get_tensor(name) for name in _ARRAYS}
        why = _wrong_with(arrays, facts)
    except (SafetensorError, KeyError, ValueError, RecursionError, MemoryError) as error:
        why = f"{type(error).__name__}: {quoted(error)}"
    if why:
        raise ValueError(f"{path} is damaged ({why}). Copy it again.")
    if facts["weights_sha256"] != sha256_of(folder / WEIGHTS_FILE):
        raise ValueError(f"{path} belongs to other weights than those beside it. Write it again.")
    values, genes, starts, ids, lengths, embeddings = (arrays[name] for name in _ARRAYS)
    columns, indices = np.unique(genes.astype(np.int32), return_inverse=True)
    expression = sparse.csr_matrix((values, indices.ravel(), starts), shape=(len(lengths), len(columns)))
    return ReferenceCells(expression, columns, ids.astype(np.int32), lengths, embeddings)


def _wrong_with(arrays: Mapping[str, np.ndarray], facts: Any) -> str:
    """Say what of the arrays cannot be; an empty text where nothing is wrong."""
    if not isinstance(facts, dict) or not isinstance(facts.get("weights_sha256"), str):
        return "it does not name its weights"
    if facts.get("arrays_sha256", _digest(arrays)) != _digest(arrays):  # older files state none
        return "its arrays are not those that were written"
    n_cells, starts, lengths = len(arrays["lengths"]), arrays["starts"], arrays["lengths"]
    for name, (kinds, n_axes) in _LAYOUT.items():
        if arrays[name].dtype.name not in kinds or arrays[name].ndim != n_axes:
            return f"{name} is {arrays[name].dtype} with {arrays[name].ndim} axes"
    if {len(arrays["ids"]), len(arrays["embeddings"]), len(starts) - 1} != {n_cells} or not n_cells:
        return "its arrays have different numbers of cells"
    if starts[0] != 0 or starts[-1] != len(arrays["genes"]) or (np.diff(starts) < 0).any():
        return "its cells do not follow one another"
    if len(arrays["values"]) != len(arrays["genes"]):
        return "its genes are not as many as their values"
    if lengths.min() < 0 or lengths.max() > arrays["ids"].shape[1]:
        return "a cell is longer than its tokens"
    finite = np.isfinite(arrays["values"]).all() and np.isfinite(arrays["embeddings"]).all()
    return "" if finite else "it has values that are not finite"


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in _ARRAYS:
        digest.update(f"{name} {arrays[name].dtype.name} {arrays[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _is_fit(tokens: Tokens) -> np.ndarray:
    """Tell which cells have tokens, and no value near the edge of a half-octave."""
    halves = BINS_PER_OCTAVE * np.log2(np.where(tokens.values > 0, tokens.values, 2**0.25).astype(np.float64))
    off = np.abs(halves - np.round(halves))
    return (off > _NEAR_EDGE).all(axis=1) & (tokens.lengths > 0)
