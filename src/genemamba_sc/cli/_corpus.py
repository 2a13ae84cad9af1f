"""What ``genemamba tokenize`` and ``genemamba pretrain`` do."""

import argparse
import logging
import sys
from pathlib import Path

import numpy as np

from genemamba_sc._pathway_index import PathwayIndex
from genemamba_sc.corpus import BatchPlan, TokenCorpus, build_corpus
from genemamba_sc.data import GeneVocabulary
from genemamba_sc.nn import ObjectiveConfig
from genemamba_sc.pretraining._config import RunConfig, encoder_of_size
from genemamba_sc.pretraining._plan import PretrainingConfig
from genemamba_sc.pretraining._run import RUN_SUFFIX
from genemamba_sc.pretraining._run import pretrain as run_pretraining

_PRECISIONS = {"32": "32-true", "bf16-mixed": "bf16-mixed"}
_EXIT_STOPPED = 143  # what a shell reports of a process ended by SIGTERM


def tokenize(arguments: argparse.Namespace) -> str:
    """Write the tokens of h5ad files and zarr folders as a corpus."""
    manifest = build_corpus(
        arguments.files,
        arguments.output,
        vocabulary=_vocabulary(arguments.vocabulary),
        max_len=arguments.max_len,
        layer=arguments.layer,
        gene_id_key=arguments.gene_id_key,
        min_genes=arguments.min_genes,
        jobs=arguments.jobs,
        on_progress=_show_progress,
    )
    lines = ["file\tread\tkept\ttoo few genes\tduplicates\tgenes with a token\tcounts in them"]
    for source in manifest["sources"]:
        cells, genes = source["cells"], source["genes"]
        lines.append(
            f"{source['name']}\t{cells['read']}\t{cells['kept']}\t{cells['too_few_genes']}\t{cells['duplicates']}\t"
            f"{genes['n_matched']} of {genes['n_vars']}\t{genes['share_of_counts']:.1%}"
        )
    lines.append(f"{arguments.output}: {manifest['n_cells']:,} cells, {manifest['n_tokens']:,} tokens")
    return "\n".join(lines)


def pretrain(arguments: argparse.Namespace) -> str:
    """Pretrain on a corpus; nothing to print for all processes but the first.

    Raises
    ------
    SystemExit
        With code 143 if the run was told to stop: its state is saved, and the same command goes on.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    corpus = TokenCorpus.open(arguments.corpus, vocabulary=_vocabulary(arguments.vocabulary))
    n_steps = arguments.max_steps or _steps_of(corpus, arguments)
    report = run_pretraining(
        corpus,
        arguments.output,
        encoder_of_size(arguments.size, corpus.vocabulary.size),
        ObjectiveConfig(**dict(arguments.objective or ())),
        PretrainingConfig(
            n_steps=n_steps,
            lr=arguments.lr,
            warmup=arguments.warmup,
            gradient_clip=arguments.clip,
            ema_decay=arguments.ema,
            seed=arguments.seed,
        ),
        _run_config(arguments),
        pathways=_pathways(arguments.pathways, corpus.vocabulary),
        resume=arguments.resume,
    )
    if report.finished:
        return f"{arguments.output}: weights after {report.n_steps} steps" if report.is_main else ""
    if report.is_main:
        print(
            f"{arguments.output}{RUN_SUFFIX}: stopped after step {report.n_steps} of {n_steps}, state saved. "
            "The same command goes on.",
            file=sys.stderr,
        )
    raise SystemExit(_EXIT_STOPPED)


def _run_config(arguments: argparse.Namespace) -> RunConfig:
    return RunConfig(
        token_budget=arguments.token_budget,
        max_len=arguments.max_len,
        n_validation=arguments.validation_cells,
        accumulate=arguments.accumulate,
        save_every=arguments.save_every,
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


def _steps_of(corpus: TokenCorpus, arguments: argparse.Namespace) -> int:
    """Turn passes over the cells into steps, by the batches of a first pass."""
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


def _vocabulary(path: str | None) -> GeneVocabulary | None:
    return None if path is None else GeneVocabulary.from_tsv(path)


def _pathways(path: str | None, vocabulary: GeneVocabulary) -> PathwayIndex | None:
    if path is None:
        return None
    from genemamba_sc.data import PathwaySet

    return PathwaySet.from_gmt(Path(path), vocabulary).index()


def _show_progress(done: int, n_cells: int) -> None:
    print(f"\r{done:,} of {n_cells:,} cells", end="\n" if done == n_cells else "", file=sys.stderr, flush=True)
