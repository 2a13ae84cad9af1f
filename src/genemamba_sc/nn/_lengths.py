"""Tell which positions of a padded batch hold a token."""

import torch

from genemamba_sc._types import Lengths, Mask


def real_tokens(width: int, lengths: Lengths) -> Mask:
    """Mark the first ``lengths`` positions of each row, (b, width); the others are pads.

    Parameters
    ----------
    width
        Positions of a row.
    lengths
        Tokens of each row, shape (b,).
    """
    return torch.arange(width, device=lengths.device) < lengths[:, None]
