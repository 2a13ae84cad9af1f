"""The process that compiles the kernels, and one that loads them from the cache, compute the same bits."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

_EMBED = """
import sys
import numpy as np, torch
from genemamba_sc import EncoderConfig
from genemamba_sc.nn import BiMambaEncoder, Embedder
torch.manual_seed(0)
encoder = BiMambaEncoder(EncoderConfig(vocab_size=44, d_model=16, n_layer=1, d_state=16, headdim=16)).eval()
drawn = torch.Generator().manual_seed(1)
ids, lengths = torch.randint(2, 42, (60, 30), generator=drawn), torch.randint(1, 30, (60,), generator=drawn)
values = 4 * torch.rand((60, 30), generator=drawn) + 0.1
with torch.inference_mode():
    embed = Embedder(encoder)
    assert embed.is_compiled
    np.savez(sys.argv[1], pooled=embed(ids, values, lengths).cell, read=encoder(ids, values, lengths).cell)
"""


def test_a_process_that_compiles_and_one_that_loads_agree_to_the_bit(tmp_path: Path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    found = []
    for name in ("compiles", "loads"):
        subprocess.run([sys.executable, "-c", _EMBED, str(tmp_path / f"{name}.npz")], env=environment, check=True)
        found.append(np.load(tmp_path / f"{name}.npz"))
    assert list((tmp_path / "cache").rglob("*.nbc"))
    for name in ("pooled", "read"):
        assert np.array_equal(found[0][name], found[1][name])
