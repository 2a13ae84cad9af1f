"""Fixtures: real data where it lies, and tiny cells made here."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:  # light tests must not wait for these
    from anndata import AnnData

    from genemamba_sc import GeneMambaModel

_NOBODY = 65534

# Where there is no GPU, Triton interprets its kernels, on the CPU. It settles that when it is first imported.
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")

# A busy machine is no failure: how long an example takes is not what these tests are about.
settings.register_profile("genemamba", deadline=None)
settings.load_profile("genemamba")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets; the test is skipped where there is none."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GENEMAMBA_TEST_DATA", default))
    if not (folder / "cells").is_dir():
        pytest.skip(f"no real data at {folder}; set GENEMAMBA_TEST_DATA to the folder that holds cells/ and genes/")
    return folder


@pytest.fixture(scope="session")
def make_cells() -> Callable[..., "AnnData"]:
    """Make tiny labelled cells: 60 cells of 3 types in 2 batches, 40 human genes, counts; some cells have few genes."""
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    def make(n_obs: int = 60, n_vars: int = 40, seed: int = 0) -> AnnData:
        rng = np.random.default_rng(seed)
        types = np.arange(n_obs) % 3
        rates = np.tile(rng.gamma(2.0, 0.6, n_vars), (n_obs, 1))
        for kind in range(3):
            rates[types == kind, 5 * kind : 5 * kind + 5] += 8
        counts = rng.poisson(rates).astype(np.float32)
        counts[3::10, 20:] = 0
        obs = pd.DataFrame(
            {
                "cell_type": pd.Categorical(np.array(["T cell", "B cell", "monocyte"])[types]),
                "batch": pd.Categorical(np.array(["first", "second"])[np.arange(n_obs) // 3 % 2]),
            },
            index=[f"cell{i}" for i in range(n_obs)],
        )
        symbols = pd.DataFrame({"symbol": [f"GENE{i}" for i in range(n_vars)]})
        symbols.index = [f"ENSG{i:011d}" for i in range(1, n_vars + 1)]
        return AnnData(sparse.csr_matrix(counts), obs=obs, var=symbols)

    return make


@pytest.fixture(scope="session")
def fit() -> Callable[..., "GeneMambaModel"]:
    """Set up, build and train a tiny model in one call; a model for ``max_epochs=0`` is started and not trained."""
    import scvi

    from genemamba_sc import GeneMambaModel

    def train(
        adata: "AnnData",
        *,
        seed: int = 0,
        model: dict[str, Any] | None = None,
        setup: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> GeneMambaModel:
        scvi.settings.seed = seed
        GeneMambaModel.setup_anndata(adata, **({"labels_key": "cell_type"} if setup is None else setup))
        fitted = GeneMambaModel(adata, **{"d_model": 16, "context_len": 16, **(model or {})})
        fitted.train(**{"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, **arguments})
        return fitted

    return train


@pytest.fixture(scope="session")
def trained(make_cells: Callable[..., "AnnData"], fit: Callable[..., "GeneMambaModel"]) -> "GeneMambaModel":
    """A model with cell types and batches, for tests that only ask it."""
    return fit(make_cells(), setup={"labels_key": "cell_type", "batch_key": "batch"}, max_epochs=2)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No type checks: what a user meets, who runs none."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder nobody may write to; root, who may write everywhere, is an ordinary user meanwhile."""
    if not hasattr(os, "setresuid"):
        pytest.skip("rights of folders are those of POSIX here")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.setresuid(_NOBODY, _NOBODY, 0)
    yield folder
    if is_root:
        os.setresuid(0, 0, 0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def publish() -> Callable[..., Path]:
    """Write a synthetic checkpoint in a published layout: documented names and shapes, small widths, 40 genes.

    ``state`` says what training did: ``"trained"`` moved everything, ``"identity bug"`` all but the layers,
    ``"fresh"`` nothing.
    """
    import json

    import torch
    from safetensors.torch import save_file

    from genemamba_sc import EncoderConfig
    from genemamba_sc.nn import BiMambaEncoder

    def write(
        folder: Path,
        *,
        layout: str = "original",
        mode: str = "mean",
        state: str = "trained",
        n_layer: int = 3,
        n_rows: int = 42,
        config: dict[str, Any] | None = None,
        change: Callable[[dict[str, Any]], object] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Path:
        sizes = {"d_model": 32, "n_layer": n_layer, "d_state": 8, "headdim": 8, "expand": 2}
        shape = {"combine": mode, "shared_combiner": True, "pre_norm": False, "expression": "none", "norm": "token"}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            encoder = BiMambaEncoder(EncoderConfig(vocab_size=n_rows, residual_init=1.0, **sizes, **shape))
            tensors = encoder.state_dict()
            tensors["embeddings.weight"] = torch.randn(n_rows, 32)
            tensors["lm_head.weight"] = torch.randn(n_rows, 32) / 8
            tensors["lm_head.bias"] = torch.randn(n_rows) / 8
            for name, tensor in tensors.items():
                if state == "trained" or (state == "identity bug" and not name.startswith("layers.")):
                    tensors[name] = tensor + 0.05 * torch.randn_like(tensor)
        names = {"original": ("", "mamba_mixer.", "mamba"), "huggingface": ("genemamba.", "encoder.", "mixer")}
        prefix, inner, mixer = names[layout]
        stored = {}
        for name, tensor in tensors.items():
            key = name.replace(".mixer.", f".{mixer}.").replace("combiner.", "aggr.")
            key = f"{inner}{key}" if key.startswith(("layers.", "aggr.")) else key
            stored[key if key.startswith("lm_head.") else f"{prefix}{key}"] = tensor.to(dtype).contiguous()
        if change is not None:
            change(stored)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(stored, folder / "model.safetensors")
        fields = {
            "original": {"architectures": ["MambaModel"], "d_model": 32, "mamba_layer": n_layer, "vocab_size": n_rows},
            "huggingface": {"hidden_size": 32, "num_hidden_layers": n_layer, "vocab_size": n_rows,
                            "max_position_embeddings": 1024},
        }[layout]  # fmt: skip
        (folder / "config.json").write_text(json.dumps(fields | (config or {})))
        vocab = {"[UNK]": 0, "[PAD]": 1} | {f"ENSG{i:011d}": i + 1 for i in range(1, 41)}
        if n_rows > 42:
            vocab["[CLS]"] = 42
        tokenizer = {"added_tokens": [], "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        return folder

    return write
