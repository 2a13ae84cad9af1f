"""Define the alphabet of shapes once.

The signature of every function that handles arrays uses these letters:

====== ================================================================
``b``  cells in a batch
``l``  tokens in a cell, padded to the longest of the batch
``d``  model width (``d_model``)
``h``  heads of the scan
``p``  width of a head (``headdim``)
``n``  width of the state (``d_state``)
``g``  groups that share ``B`` and ``C`` (``ngroups``)
``c``  cell types
====== ================================================================

The annotations are checked under pytest only (by jaxtyping's import hook); at run time they cost nothing.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

TokenIds = Int[Tensor, "b l"]
TokenValues = Float[Tensor, "b l"]
Lengths = Int[Tensor, "b"]
Mask = Bool[Tensor, "b l"]  # True = a real gene
Hidden = Float[Tensor, "b l d"]
CellEmbedding = Float[Tensor, "b d"]
CellLogits = Float[Tensor, "b c"]
Labels = Int[Tensor, "b"]

ScanInput = Float[Tensor, "b l h p"]
ScanStep = Float[Tensor, "b l h"]
ScanDecay = Float[Tensor, "h"]
ScanProjection = Float[Tensor, "b l g n"]
