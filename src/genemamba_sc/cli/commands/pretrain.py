"""train an encoder on a corpus, on one device or many machines"""  # noqa: D400

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from genemamba_sc.cli._options import add_vocabulary, natural, needs_pyarrow, positive

if TYPE_CHECKING:
    from genemamba_sc.corpus import TokenCorpus
    from genemamba_sc.nn import ObjectiveConfig
    from genemamba_sc.pretraining import RunConfig, RunReport, StopRequest

_PRECISIONS = {"32": "32-true", "bf16-mixed": "bf16-mixed"}
_EXIT_STOPPED = 143  # what a shell reports of a process ended by SIGTERM


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("corpus", metavar="CORPUS", help="folder written by genemamba tokenize or by datasets")
    parser.add_argument("output", metavar="OUT", help="folder for the weights; the state of the run is in OUT.run")
    add_vocabulary(parser, "for a corpus that does not bring its own")
    parser.add_argument("--size", choices=("mini", "small", "base", "published"), default="mini", help="encoder size")
    parser.add_argument("--pathways", metavar="GMT", help="gene sets for the pathway-aware contrast")
    parser.add_argument(
        "--objective",
        action="append",
        type=_setting,
        metavar="NAME=VALUE",
        help="a field of ObjectiveConfig; may be repeated",
    )
    _add_optimisation(parser)
    _add_batches(parser)
    _add_machines(parser)


def _add_optimisation(pretrain: argparse.ArgumentParser) -> None:
    length = pretrain.add_mutually_exclusive_group(required=True)
    length.add_argument("--max-steps", type=positive, help="steps of the optimiser")
    length.add_argument("--max-epochs", type=positive, help="passes over the cells, in place of steps")
    pretrain.add_argument("--lr", type=float, default=1e-3, help="peak learning rate (default: %(default)s)")
    pretrain.add_argument(
        "--warmup", type=float, default=0.02, help="share of the steps that warms up (default: %(default)s)"
    )
    pretrain.add_argument("--clip", type=float, default=1.0, help="largest norm of the gradient (default: %(default)s)")
    pretrain.add_argument("--ema", type=float, default=0.0, help="decay of averaged weights (default: no average)")
    pretrain.add_argument("--seed", type=natural, default=0, help="seed of everything drawn (default: %(default)s)")
    pretrain.add_argument(
        "--resume", default="auto", metavar="auto|PATH", help="continue from OUT.run where it exists, or from a file"
    )


def _add_batches(pretrain: argparse.ArgumentParser) -> None:
    pretrain.add_argument(
        "--token-budget", type=positive, default=32_768, help="padded tokens of a batch (default: %(default)s)"
    )
    pretrain.add_argument("--accumulate", type=positive, default=1, help="batches per step and process")
    pretrain.add_argument("--max-len", type=positive, help="tokens read of each cell (default: all of the corpus)")
    pretrain.add_argument("--validation-cells", type=natural, default=0, help="cells held out (default: %(default)s)")
    pretrain.add_argument(
        "--validate-every",
        type=positive,
        default=1000,
        help="steps between validations; there is one after the last step, too (default: %(default)s)",
    )
    pretrain.add_argument(
        "--save-every", type=positive, default=500, help="steps between saved states (default: %(default)s)"
    )
    pretrain.add_argument(
        "--log-every", type=positive, default=10, help="steps between lines of the log (default: %(default)s)"
    )


def _add_machines(pretrain: argparse.ArgumentParser) -> None:
    pretrain.add_argument("--accelerator", default="auto", help="cpu, gpu or auto (default: %(default)s)")
    pretrain.add_argument(
        "--devices", type=_devices, default=1, help="devices per machine, or auto (default: %(default)s)"
    )
    pretrain.add_argument("--num-nodes", type=positive, default=1, help="number of machines (default: %(default)s)")
    pretrain.add_argument(
        "--strategy", choices=("auto", "ddp", "fsdp"), default="auto", help="how devices share the work"
    )
    pretrain.add_argument(
        "--precision", choices=("32", "bf16-mixed"), default="32", help="numeric precision (default: %(default)s)"
    )
    pretrain.add_argument("--activation-checkpointing", action="store_true", help="use less memory, but more time")
    pretrain.add_argument("--workers", type=natural, default=0, help="processes that read ahead, per device")


def _devices(text: str) -> int | str:
    return text if text == "auto" else positive(text)


def _setting(text: str) -> tuple[str, float | int | bool | str]:
    """Read NAME=VALUE; turn the value into a number or a truth value where it is written like one."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"NAME=VALUE is needed, such as mask_rate=0.3, got {text!r}")
    if value in ("true", "false"):
        return name, value == "true"
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


def run(arguments: argparse.Namespace) -> str:
    """Pretrain on a corpus; only the first process returns a text to print.

    Raises
    ------
    SystemExit
        With code 143 if the run was told to stop: its state is saved, and the same command continues the run.
    """
    from genemamba_sc.cli._models import check_accelerator

    check_accelerator(arguments.accelerator)
    objectives = _objectives(arguments)
    with needs_pyarrow():
        import genemamba_sc.corpus  # noqa: F401
    from genemamba_sc.pretraining import OF_SCHEDULERS, StopRequest, run_folder

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    stop = StopRequest()
    with stop.listening(*OF_SCHEDULERS):  # the run itself listens later: until then the corpus is opened
        report, n_steps = _pretrain(arguments, objectives, stop)
    if report.finished:
        return f"{arguments.output}: weights after {report.n_steps} steps" if report.is_main else ""
    if report.is_main:
        saved = f"stopped after step {report.n_steps} of {n_steps}, state saved"
        print(
            f"{run_folder(arguments.output)}: {saved if report.n_steps else 'stopped before the first step'}. "
            "The same command continues the run.",
            file=sys.stderr,
        )
    raise SystemExit(_EXIT_STOPPED)


def _pretrain(
    arguments: argparse.Namespace, objectives: "ObjectiveConfig", stop: "StopRequest"
) -> "tuple[RunReport, int]":
    """Open the corpus and run the training; return how it ended, and the number of steps of the whole run."""
    from genemamba_sc.corpus import TokenCorpus
    from genemamba_sc.data import GeneVocabulary, PathwaySet
    from genemamba_sc.pretraining import PretrainingConfig, RunReport, encoder_of_size, pretrain

    vocabulary = None if arguments.vocabulary is None else GeneVocabulary.from_tsv(arguments.vocabulary)
    corpus = TokenCorpus.open(arguments.corpus, vocabulary=vocabulary)
    pathways = None
    if arguments.pathways is not None:
        pathways = PathwaySet.from_gmt(Path(arguments.pathways), corpus.vocabulary).index()
    n_steps = arguments.max_steps or _steps_of(corpus, arguments)
    optimisation = PretrainingConfig(
        n_steps=n_steps,
        lr=arguments.lr,
        warmup=arguments.warmup,
        gradient_clip=arguments.clip,
        ema_decay=arguments.ema,
        seed=arguments.seed,
    )
    if stop.asked:
        return RunReport(0, finished=False, is_main=True), n_steps
    encoder, run = encoder_of_size(arguments.size, corpus.vocabulary.size), _run_config(arguments)
    report = pretrain(
        corpus,
        arguments.output,
        encoder,
        objectives,
        optimisation,
        run,
        pathways=pathways,
        resume=arguments.resume,
    )
    return report, n_steps


def _objectives(arguments: argparse.Namespace) -> "ObjectiveConfig":
    from dataclasses import fields

    from genemamba_sc.nn import ObjectiveConfig

    chosen = dict(arguments.objective or ())
    if len(chosen) < len(arguments.objective or ()):
        names = [name for name, _ in arguments.objective]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(
            f"--objective must name each choice once. Got {', '.join(twice)} again. Leave out one of them."
        )
    known = [field.name for field in fields(ObjectiveConfig)]
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise ValueError(f"--objective must name choices of the objective. Got {unknown}. Choose among {known}.")
    return ObjectiveConfig(**chosen)


def _run_config(arguments: argparse.Namespace) -> "RunConfig":
    from genemamba_sc.pretraining import RunConfig

    return RunConfig(
        token_budget=arguments.token_budget,
        max_len=arguments.max_len,
        n_validation=arguments.validation_cells,
        accumulate=arguments.accumulate,
        save_every=arguments.save_every,
        validate_every=arguments.validate_every,
        log_every=arguments.log_every,
        accelerator=arguments.accelerator,
        devices=arguments.devices,
        num_nodes=arguments.num_nodes,
        strategy=arguments.strategy,
        precision=_PRECISIONS[arguments.precision],
        n_workers=arguments.workers,
        activation_checkpointing=arguments.activation_checkpointing,
        progress=sys.stderr.isatty(),
    )


def _steps_of(corpus: "TokenCorpus", arguments: argparse.Namespace) -> int:
    """Turn passes over the cells into steps, by the batches of a first pass."""
    import numpy as np

    from genemamba_sc.corpus import BatchPlan

    if arguments.devices == "auto":
        raise ValueError(
            "--max-epochs needs the number of processes to count steps. Got --devices auto. "
            "Give --devices N, or --max-steps."
        )
    lengths = corpus.lengths if arguments.max_len is None else np.minimum(corpus.lengths, arguments.max_len)
    # Which cells are held out does not matter for the number of batches.
    cells = np.arange(max(1, corpus.n_cells - arguments.validation_cells))
    n_batches = len(BatchPlan(lengths, cells, arguments.token_budget, arguments.seed).epoch(0))
    together = arguments.accumulate * arguments.num_nodes * arguments.devices
    return max(1, round(arguments.max_epochs * n_batches / together))
