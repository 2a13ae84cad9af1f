"""Tell which genes share a pathway: one bit per pair of genes, looked up for the tokens of a batch."""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, UInt8
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
    """

    rows: Int[Tensor, "v"]
    bits: UInt8[Tensor, "g bytes"]

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
        return PathwayIndex(self.rows.to(device), self.bits.to(device))
