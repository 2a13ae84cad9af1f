"""``genemamba tokenize`` and ``genemamba pretrain``."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from anndata import AnnData

from genemamba_sc import GeneVocabulary, read_pretrained
from genemamba_sc.cli._main import main
from genemamba_sc.corpus import TokenCorpus
from genemamba_sc.pretraining import _config as runs
from genemamba_sc.pretraining import _run as run_module
from genemamba_sc.pretraining._config import RunReport
from genemamba_sc.pretraining._plan import PretrainingPlan

Cells = Callable[..., AnnData]
TINY = {"d_model": 16, "n_layer": 1, "d_state": 8, "headdim": 16}
SHORT = ["--max-len", "30", "--token-budget", "400", "--accelerator", "cpu"]


@pytest.fixture
def tokenizing(make_cells: Cells, tmp_path: Path) -> list[str]:
    """Give the command that tokenises two files into ``corpus``."""
    make_cells().write_h5ad(tmp_path / "a.h5ad")
    make_cells(seed=1).write_h5ad(tmp_path / "b.h5ad")
    GeneVocabulary.from_anndata(make_cells()).to_tsv(tmp_path / "genes.tsv")
    files = [str(tmp_path / "a.h5ad"), str(tmp_path / "b.h5ad")]
    options = ["--vocabulary", str(tmp_path / "genes.tsv"), "--jobs", "1", "--min-genes", "21", "--max-len", "35"]
    return ["tokenize", *files, str(tmp_path / "corpus"), *options]


@pytest.fixture
def corpus(tokenizing: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(runs.SIZES, "mini", TINY)
    assert main(tokenizing) == 0
    return str(tmp_path / "corpus")


def test_tokenize_writes_a_corpus_and_says_what_was_read(
    tokenizing: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(tokenizing) == 0
    told, corpus = capsys.readouterr(), str(tmp_path / "corpus")
    found = TokenCorpus.open(corpus)
    lines = told.out.splitlines()
    assert lines[0].startswith("file\tread\tkept\ttoo few genes\tduplicates\t")
    kept = [source["cells"]["kept"] for source in found.manifest["sources"]]
    assert lines[1] == f"a.h5ad\t60\t{kept[0]}\t{60 - kept[0]}\t0\t40 of 40\t100.0%"
    n_tokens = found.manifest["n_tokens"]
    assert lines[3] == f"{corpus}: {sum(kept)} cells, {n_tokens} tokens".replace(str(n_tokens), f"{n_tokens:,}")
    assert told.err.endswith("120 of 120 cells\n")
    assert found.manifest["filters"] == {"max_len": 35, "min_genes": 21, "duplicates": "removed"}


def test_pretrain_writes_weights_that_can_be_read(corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    gmt = tmp_path / "sets.gmt"
    genes = TokenCorpus.open(corpus).vocabulary.gene_ids
    gmt.write_text("".join(f"set{i}\t\t" + "\t".join(genes[i : i + 12]) + "\n" for i in range(20)))
    out = str(tmp_path / "weights")
    objective = ["--objective", "mask_rate=0.2", "--objective", "hide_values=false", "--pathways", str(gmt)]
    assert main(["pretrain", corpus, out, "--max-steps", "3", *SHORT, *objective, "--ema", "0.5"]) == 0
    assert capsys.readouterr().out == f"{out}: weights after 3 steps\n"
    pretrained = read_pretrained(out)
    assert pretrained.encoder_config.d_model == 16
    assert pretrained.max_len == 30
    assert pretrained.manifest["settings"]["objectives"]["mask_rate"] == 0.2
    assert pretrained.manifest["settings"]["objectives"]["hide_values"] is False
    assert pretrained.manifest["settings"]["optimisation"]["ema_decay"] == 0.5
    assert pretrained.manifest["settings"]["pathway_genes"] > 0


def test_passes_over_the_cells_are_turned_into_steps(corpus: str, tmp_path: Path):
    out = str(tmp_path / "weights")
    options = ["--max-epochs", "2", "--accumulate", "2", *SHORT]
    assert main(["pretrain", corpus, out, *options]) == 0
    lengths = TokenCorpus.open(corpus).lengths.clip(max=30)
    steps = read_pretrained(out).manifest["steps"]
    assert 2 * lengths.sum() / 800 <= steps <= 2 * lengths.sum() / 800 * 1.5


def test_a_run_that_is_told_to_stop_has_a_code_of_its_own(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    capsys.readouterr()
    monkeypatch.setattr("genemamba_sc.pretraining.pretrain", lambda *_, **__: RunReport(2, False, True))
    with pytest.raises(SystemExit, match="143"):
        main(["pretrain", corpus, str(tmp_path / "out"), "--max-steps", "5", *SHORT])
    told = capsys.readouterr()
    assert told.out == ""
    stopped = "stopped after step 2 of 5, state saved. The same command continues the run."
    assert f"{tmp_path / 'out'}.run: {stopped}" in told.err
    monkeypatch.setattr("genemamba_sc.pretraining.pretrain", lambda *_, **__: RunReport(0, False, True))
    with pytest.raises(SystemExit, match="143"):
        main(["pretrain", corpus, f"{tmp_path}/out/", "--max-steps", "5", *SHORT])
    told = capsys.readouterr()
    assert f"{tmp_path / 'out'}.run: stopped before the first step. The same command continues the run." in told.err
    monkeypatch.setattr("genemamba_sc.pretraining.pretrain", lambda *_, **__: RunReport(5, True, False))
    assert main(["pretrain", corpus, str(tmp_path / "out"), "--max-steps", "5", *SHORT]) == 0
    assert capsys.readouterr().out == ""  # one process speaks for all


def test_a_signal_while_the_corpus_is_opened_has_the_code_of_a_run_that_was_told_to_stop(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened = TokenCorpus.open(corpus)

    def opening(*_: object, **__: object) -> TokenCorpus:
        os.kill(os.getpid(), signal.SIGUSR1)
        return opened

    monkeypatch.setattr(TokenCorpus, "open", opening)
    with pytest.raises(SystemExit, match="143"):
        main(["pretrain", corpus, str(tmp_path / "out"), "--max-steps", "5", *SHORT])
    assert not (tmp_path / "out").exists()


def test_ctrl_c_has_the_code_of_an_interrupted_run_and_says_how_to_go_on(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    step, out = PretrainingPlan.training_step, str(tmp_path / "out")

    def interrupted(plan: PretrainingPlan, batch: Any, batch_idx: int) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return step(plan, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(PretrainingPlan, "training_step", interrupted)
        assert main(["pretrain", corpus, out, "--max-steps", "3", *SHORT]) == 130
    told = capsys.readouterr().err
    stopped = "stopped after step 1 of 3, state saved. The same call continues the run."
    assert f"genemamba pretrain: {out}.run: {stopped}" in told
    assert main(["pretrain", corpus, out, "--max-steps", "3", *SHORT]) == 0


def test_held_out_cells_are_looked_at_as_often_as_asked_and_after_the_last_step(corpus: str, tmp_path: Path):
    options = ["--max-steps", "3", "--validation-cells", "9", "--log-every", "1", *SHORT]
    for name, extra, expected in (("often", ["--validate-every", "2"], ["1", "2"]), ("seldom", [], ["2"])):
        assert main(["pretrain", corpus, str(tmp_path / name), *options, *extra]) == 0
        with (tmp_path / f"{name}.run" / "logs" / "version_0" / "metrics.csv").open() as stream:
            steps = [line["step"] for line in csv.DictReader(stream) if line["validation_loss"]]
        assert steps == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pretrain", "C", "OUT"], "one of the arguments --max-steps --max-epochs is required"),
        (["pretrain", "C", "OUT", "--max-steps", "0"], "a whole number of at least 1 is needed, got '0'"),
        (["pretrain", "C", "OUT", "--max-steps", "1", "--objective", "rate"], "NAME=VALUE is needed"),
        (["pretrain", "C", "OUT", "--max-steps", "1", "--size", "huge"], "invalid choice: 'huge'"),
        (["pretrain", "C", "OUT", "--max-steps", "1", "--devices", "x"], "a whole number of at least 1 is needed"),
        (["tokenize", "cells.h5ad"], "the following arguments are required: OUT"),
        (["tokenize", "cells.h5ad", "OUT", "--jobs", "-1"], "a whole number of at least 1 is needed, got '-1'"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert told in capsys.readouterr().err


def test_what_cannot_be_done_is_told_in_one_line(corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    out = str(tmp_path / "out")
    for arguments, told in (
        (["tokenize", "none.h5ad", out], "none.h5ad does not exist"),
        (["pretrain", str(tmp_path), out, "--max-steps", "1"], "is not a corpus: it has neither manifest.json"),
        (["pretrain", corpus, out, "--max-epochs", "1", "--devices", "auto"], "--max-epochs needs the number of"),
    ):
        assert main(arguments) == 1
        result = capsys.readouterr()
        assert result.out == "" and told in result.err and "Traceback" not in result.err


def test_help_waits_for_nothing_heavy():
    code = (
        "import sys\nfrom genemamba_sc.cli._main import main\n"
        "try: main(['pretrain', '--help'])\nexcept SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", f"import json\n{code}"], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not {"torch", "lightning", "scvi", "pyarrow", "numpy"} & loaded


def test_without_pyarrow_the_way_out_is_told():
    # A process of its own: here pyarrow was imported long ago.
    code = (
        "import sys\nsys.modules['pyarrow'] = None\nfrom genemamba_sc.cli import main\n"
        "sys.exit(main(['tokenize', 'a.h5ad', 'out']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Got no pyarrow here. Install it with: pip install 'genemamba-sc[corpus]'" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--objective", "masks=0.2"], "--objective must name choices of the objective. Got ['masks']. Choose among"),
        (["--objective", "mask_rate=0.3", "--objective", "mask_rate=0.4"], "each choice once. Got mask_rate again."),
        (["--objective", "mask_rate=1.5"], "mask_rate must lie in [0, 1). Got 1.5."),
        (["--accelerator", "abacus"], "--accelerator abacus cannot be used here"),
        (["--warmup", "2"], "warmup must lie in [0, 1). Got 2.0."),
        (["--pathways", "nowhere.gmt"], "nowhere.gmt"),
        (["--resume", "nowhere.ckpt"], "nowhere.ckpt is not a file. Give the state.ckpt of a run"),
    ],
)
def test_pretrain_refuses_what_would_fail_before_anything_is_computed(
    corpus: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
):
    monkeypatch.setattr(run_module, "_build", lambda *args: pytest.fail("the start was computed"))
    capsys.readouterr()
    assert main(["pretrain", corpus, str(tmp_path / "weights"), "--max-steps", "1", *SHORT, *options]) == 1
    told = capsys.readouterr()
    assert message in told.err and told.out == "" and not (tmp_path / "weights").exists()
