"""train on 700 blood cells that scanpy carries, annotate held-out cells, draw them"""  # noqa: D400

import argparse
from pathlib import Path

from genemamba_sc.cli._options import add_training, useless_with_model


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--out", default="genemamba_demo", help="folder for the files (default: %(default)s)")
    parser.add_argument("--model", help="folder of a saved model to use instead of training one")
    add_training(parser)


def check(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the options."""
    return useless_with_model(arguments, seed_matters=True)


def run(arguments: argparse.Namespace) -> str:
    """Train on scanpy's 700 cells and show what comes out."""
    from genemamba_sc.cli._steps import Steps

    step = Steps(5)
    with step("load PyTorch, scvi-tools and scanpy"):
        from genemamba_sc.benchmark._demo import run_demo
        from genemamba_sc.cli import _models as models
    models.check_accelerator(arguments.accelerator)
    models.set_seed(arguments)
    report = run_demo(
        Path(arguments.out),
        model_folder=arguments.model,
        max_epochs=arguments.max_epochs,
        accelerator=arguments.accelerator,
        seed=arguments.seed or 0,
        step=step,
    )
    return str(report)
