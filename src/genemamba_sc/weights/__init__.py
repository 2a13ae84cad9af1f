"""Keep weights on disk: saved models, pretrained folders, published layouts, and the weights that ship (``mini``)."""

from genemamba_sc.weights._own import Pretrained, write_pretrained
from genemamba_sc.weights._read import read_pretrained

__all__ = ["Pretrained", "read_pretrained", "write_pretrained"]
