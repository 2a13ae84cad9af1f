"""Tell which genes share a pathway: one bit per pair of genes, looked up for the tokens of a batch."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int, Int32, UInt8
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PathwayIndex:
    """Store the pairs of genes that share a pathway, as bits.

    Only genes of some pathway have a row; there are ``g`` of them. All pairs of 10,000 genes take 12 MB, and a batch
    takes one look-up per pair, whatever the number of pathways.

    Parameters
    ----------
    rows
        Row of each token, shape (v,); -1 for tokens in no pathway.
    bits
        Bit ``j % 8`` of byte ``j // 8`` in row ``i`` tells whether the genes of rows i and j share a pathway, shape
        (g, ceil(g / 8)).
    vocabulary
        Fingerprint of the genes whose tokens these are; ``None`` where it is not known.
    """

    rows: Int[Tensor, "v"]
    bits: UInt8[Tensor, "g bytes"]
    vocabulary: str | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of which token has which row and which rows share a pathway, in hexadecimal digits."""
        digest = hashlib.sha256()
        for part, kind in ((self.rows, "<i8"), (self.bits, "u1")):
            digest.update(f"{tuple(part.shape)}\0".encode() + part.cpu().numpy().astype(kind).tobytes())
        return digest.hexdigest()

    def known(self, token_ids: Int[Tensor, "*k"]) -> Bool[Tensor, "*k"]:
        """Return whether each token is a gene of some pathway.

        Parameters
        ----------
        token_ids
            Token ids, of any shape.
        """
        return self.rows[token_ids] >= 0

    def share(self, a: Int[Tensor, "n"], b: Int[Tensor, "m"]) -> Bool[Tensor, "n m"]:
        """Return whether each gene of ``a`` shares a pathway with each of ``b``; a gene of a pathway does with itself.

        Parameters
        ----------
        a, b
            Token ids, shapes (n,) and (m,); tokens in no pathway share none.
        """
        rows, columns = self.rows[a], self.rows[b]
        if len(self.bits) == 0:
            return torch.zeros(len(a), len(b), dtype=torch.bool, device=a.device)
        found = self.bits[rows.clamp(min=0)][:, columns.clamp(min=0) >> 3]
        bit = found.bitwise_and(torch.ones_like(columns).bitwise_left_shift(columns.clamp(min=0) & 7).to(torch.uint8))
        return (bit != 0) & (rows >= 0)[:, None] & (columns >= 0)

    def to(self, device: torch.device | str) -> "PathwayIndex":
        """Bring the index to a device.

        Parameters
        ----------
        device
            The device.
        """
        return PathwayIndex(self.rows.to(device), self.bits.to(device), self.vocabulary)


def shares_pathway(index: PathwayIndex, pairs: Int32[np.ndarray, "m 2"]) -> Bool[np.ndarray, "m"]:
    """Return whether the two genes of each pair share a pathway; False for genes of none.

    Parameters
    ----------
    index
        Index of the pathways.
    pairs
        Token ids, shape (m, 2).
    """
    first, second = index.rows.numpy()[pairs.T]
    bits = index.bits.numpy()
    if len(bits) == 0:
        return np.zeros(len(pairs), dtype=bool)
    found = bits[np.maximum(first, 0), np.maximum(second, 0) >> 3] >> (np.maximum(second, 0) & 7).astype(np.uint8) & 1
    return (found > 0) & (first >= 0) & (second >= 0)
