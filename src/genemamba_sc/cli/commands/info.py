"""versions, device, backend of the scan and why; what a saved model is"""  # noqa: D400

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version

from genemamba_sc._version import __version__

_PACKAGES = (
    "scvi-tools",
    "scanpy",
    "anndata",
    "torch",
    "lightning",
    "numba",
    "numpy",
    "scipy",
    "pandas",
    "triton",
    "mamba-ssm",
    "scib-metrics",
    "huggingface-hub",
)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("model", nargs="?", help="folder of a saved model")


def run(arguments: argparse.Namespace) -> str:
    """Return versions, device, backend and its reason, and what a saved model is."""
    import torch

    from genemamba_sc.ops import choose_backend

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        choice = choose_backend(device, torch.float32)
        backend = f"{choice.name}: {choice.reason}"
    except (ValueError, RuntimeError) as error:  # who asks is to see the versions all the same
        backend = f"none: {error}"
    lines = [
        f"genemamba-sc\t{__version__}",
        f"python\t{platform.python_version()} on {platform.system()} {platform.machine()}",
        *(f"{name}\t{_version(name)}" for name in _PACKAGES),
        f"device\t{device}, {torch.get_num_threads()} threads",
        f"scan backend\t{backend}",
    ]
    return "\n".join(lines + ([] if arguments.model is None else _describe(arguments.model)))


def _describe(folder: str) -> list[str]:
    from genemamba_sc.weights._saved_model import CALIBRATION_PREFIX, INTEGRATION_PREFIX, read_model

    saved = read_model(folder)
    config = saved.meta["init"]["encoder_config"]
    arguments = saved.meta["registry"]["setup_args"]
    fields = saved.meta["registry"]["field_registries"]
    beside = (CALIBRATION_PREFIX, INTEGRATION_PREFIX)
    n_parameters = sum(tensor.numel() for name, tensor in saved.tensors.items() if not name.startswith(beside))
    lines = [
        f"model\t{folder}",
        f"saved by\t{', '.join(f'{name} {number}' for name, number in saved.meta['versions'].items())}",
        f"parameters\t{n_parameters:,}",
        f"genes\t{saved.vocabulary.n_genes} ({saved.vocabulary.species}), {saved.vocabulary.fingerprint[:12]}",
        f"encoder\t{', '.join(f'{name}={value}' for name, value in config.items())}",
        f"trained on\t{fields['X']['state_registry']['n_obs']} cells, {arguments}",
    ]
    if "labels" in fields:
        state = fields["labels"]["state_registry"]
        types = [str(name) for name in state["categorical_mapping"] if name != state.get("unlabeled_category")]
        lines.append(f"cell types\t{', '.join(types)}")
        lines.append(f"calibrated on\t{saved.meta.get('calibration', {}).get('cells', 'no cells')}")
    return lines


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed (not needed)"
