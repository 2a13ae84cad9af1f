"""Let VCBench's own base class and validator accept a model of this package.

git clone https://github.com/AppliedScientific/VCBench vcbench  # cd5de39 of 2026-06-24 was used
python benchmarks/harnesses/run_vcbench.py vcbench/src cell_lines
"""

import importlib.util
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType

import anndata as ad

import genemamba_sc as gm
from genemamba_sc.benchmark import HarnessModel


def module(path: Path) -> ModuleType:
    """Load one file, without the packages that the rest of VCBench needs."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def main(source: str, name: str) -> None:
    warnings.simplefilter("ignore")
    base = module(Path(source) / "vcbench" / "models" / "base.py")

    class GeneMamba(HarnessModel, base.FoundationModel):
        name = "GeneMamba mini"

    folder = Path(os.environ.get("GENEMAMBA_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    adata = ad.read_h5ad(folder / "cells" / f"{name}.h5ad")
    model = GeneMamba()
    model.load_pretrained("mini")
    print(f"{model.name}, a {base.FoundationModel.__name__}: {isinstance(model, base.FoundationModel)}")
    print(f"embed: {model.embed(adata).shape}, of {adata.n_obs} cells")
    try:
        contamination = module(Path(source) / "vcbench" / "contamination" / "manifest.py")
    except ModuleNotFoundError as error:
        print(f"the manifest was not validated: {error}")
        return
    print(f"manifest: {contamination.validate_manifest(gm.contamination_manifest('mini').to_dict())}")


if __name__ == "__main__":
    main(*sys.argv[1:])
