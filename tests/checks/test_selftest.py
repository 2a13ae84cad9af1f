"""The self-test passes where all is well, and fails where one direction, tap or digit is missing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from anndata import AnnData
from safetensors.numpy import load_file, save_file
from torch import Tensor

from genemamba_sc import EncoderConfig, GeneVocabulary, Pretrained, SelftestReport, selftest, write_pretrained
from genemamba_sc._digests import sha256_of
from genemamba_sc.checks import _selftest
from genemamba_sc.checks._selftest import SelftestRow
from genemamba_sc.checks._selftest_cells import read_reference_cells, write_reference_cells
from genemamba_sc.cli._main import main
from genemamba_sc.data import query_source
from genemamba_sc.nn import BiMambaEncoder
from genemamba_sc.ops import available_backends
from genemamba_sc.weights import _locate

PRECISIONS = (("float32", torch.float32), ("bfloat16", torch.bfloat16))


@pytest.fixture
def folder(make_cells: Callable[..., AnnData], tmp_path: Path) -> Path:
    cells = make_cells()
    vocabulary = GeneVocabulary.from_anndata(cells)
    config = EncoderConfig(vocab_size=vocabulary.size, d_model=16, n_layer=2, headdim=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = dict(BiMambaEncoder(config).state_dict())
    write_pretrained(tmp_path / "mini", Pretrained(config, encoder, {}, vocabulary, 30, {}, [], "mini"))
    write_reference_cells(tmp_path / "mini", cells.X, query_source(cells, vocabulary, 30, {}).columns, 4)
    return tmp_path / "mini"


@pytest.fixture(autouse=True)
def nothing_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_locate, "_SHIPPED", tmp_path / "shipped")


def checks(report: SelftestReport, failed: bool = False) -> set[tuple[str, str]]:
    return {(row.backend, row.check) for row in report.rows if not (failed and row.ok)}


def test_every_backend_passes_every_check(folder: Path):
    report = selftest(folder, ["cpu"])
    expected = {
        (backend, f"{check} {name}")
        for check in ("gradients", "embeddings")
        for name, dtype in PRECISIONS
        for backend in available_backends("cpu", dtype)
    }
    assert checks(report) == expected | {("tokenizer", "tokens")}
    assert report.ok and report.complete, str(report)
    assert [row.tolerance for row in report.rows if "float32" in row.check] == [1e-4] * (len(expected) // 2)
    assert {row.tolerance for row in report.rows if "bfloat16" in row.check} == {2e-2}
    assert str(report).endswith(f"passed: {len(expected) + 1} checks")
    assert "unavailable: mamba_ssm on cpu: The backend 'mamba_ssm', asked for, needs its kernels" in str(report)


def test_without_a_checkpoint_it_is_said_what_was_not_run():
    report = selftest(devices=["cpu"])
    assert {row.check for row in report.rows} == {"gradients float32", "gradients bfloat16"}
    assert report.ok and not report.complete
    assert report.not_run == ("tokens and embeddings: no checkpoint 'mini' ships with this installation",)
    assert str(report).endswith("; 1 not run, so this is not the whole test")


def test_a_checkpoint_without_cells_is_not_run_either(folder: Path):
    (folder / "selftest.safetensors").unlink()
    report = selftest(folder, ["cpu"])
    assert report.ok and not report.complete
    assert report.not_run == (
        "tokens and embeddings: no selftest.safetensors lies beside the weights; benchmarks/pretraining writes one",
    )


def test_the_checkpoint_that_ships_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_locate, "_SHIPPED", folder.parent)
    assert selftest(devices=["cpu"]).complete
    assert selftest("mini", devices=["cpu"]).complete


def test_a_checkpoint_that_is_none_is_refused():
    with pytest.raises(FileNotFoundError, match="Got 'no such', which is none of these"):
        selftest("no such", ["cpu"])


@pytest.mark.parametrize("backend", available_backends())
def test_a_direction_left_out_fails(folder: Path, backend: str, monkeypatch: pytest.MonkeyPatch):
    from genemamba_sc.nn import _mamba2

    read = _selftest.read_tokens

    def one_way(*given: Any, **options: Any) -> Tensor:
        name = options.get("backend")
        return read(*given, **(options | {"directions": "forward"} if name == backend else options))

    monkeypatch.setattr(_mamba2, "read_tokens", one_way)
    failed = checks(selftest(folder, ["cpu"]), failed=True)
    assert failed >= {(backend, "embeddings float32")} and {name for name, _ in failed} == {backend}
    monkeypatch.setattr(_selftest, "read_tokens", one_way)
    if backend != "reference":  # which is the truth of the gradients
        failed = checks(selftest(devices=["cpu"]), failed=True)
        assert failed == {(backend, "gradients float32"), (backend, "gradients bfloat16")}


def test_a_wrong_gradient_fails(monkeypatch: pytest.MonkeyPatch):
    read = _selftest.read_tokens

    def scaled(projected: Tensor, *given: Any, **options: Any) -> Tensor:
        y = read(projected, *given, **options)
        return y + 0.05 * (y - y.detach()) if options["backend"] == "chunked" else y

    monkeypatch.setattr(_selftest, "read_tokens", scaled)
    failed = [row for row in selftest(devices=["cpu"]).rows if not row.ok]
    assert {(row.backend, row.check) for row in failed} == {
        ("chunked", "gradients float32"), ("chunked", "gradients bfloat16"),
    }  # fmt: skip
    assert all(0.04 < row.error < 0.06 for row in failed)


def test_what_raises_is_a_failed_check(monkeypatch: pytest.MonkeyPatch):
    def broken(*given: Any, **options: Any) -> Tensor:
        if options["backend"] == "chunked":
            raise RuntimeError("no kernel image")
        return read(*given, **options)

    read = _selftest.read_tokens
    monkeypatch.setattr(_selftest, "read_tokens", broken)
    report = selftest(devices=["cpu"])
    row = next(row for row in report.rows if row.backend == "chunked")
    assert not row.ok and row.remark == "RuntimeError: no kernel image"
    assert f"FAILED: 2 of {len(report.rows)} checks" in str(report)


def test_other_embeddings_and_other_tokens_fail(folder: Path):
    path = folder / "selftest.safetensors"
    arrays, whole = load_file(path), path.read_bytes()
    facts = {"selftest": f'{{"weights_sha256": "{sha256_of(folder / "model.safetensors")}"}}'}
    save_file(arrays | {"embeddings": arrays["embeddings"] * 1.001}, path, metadata=facts)
    failed = [row for row in selftest(folder, ["cpu"]).rows if not row.ok]
    assert {row.check for row in failed} == {"embeddings float32"}
    assert all(row.error == pytest.approx(1e-3, rel=0.1) for row in failed)
    path.write_bytes(whole)
    ids = read_reference_cells(folder).ids.copy()
    ids[0, :2] = ids[0, 1::-1]
    save_file(arrays | {"ids": ids.astype(arrays["ids"].dtype)}, path, metadata=facts)
    row = next(row for row in selftest(folder, ["cpu"]).rows if row.check == "tokens")
    assert (row.error, row.ok) == (0.25, False)


def test_products_of_fewer_digits_have_a_wider_tolerance(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_selftest, "allows_tf32", lambda: True)
    rows = [row for row in selftest(devices=["cpu"]).rows if row.check == "gradients float32"]
    assert {row.tolerance for row in rows} == {2e-2}
    assert {row.remark for row in rows} == {"products of TF32 numbers are allowed"}


def test_not_a_number_is_not_ok():
    assert not SelftestRow("cpu", "chunked", "gradients float32", float("nan"), 1e-4).ok


def test_the_command_prints_the_table_and_ends_with_the_verdict(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_selftest, "_devices", lambda: iter(["cpu"]))
    assert main(["selftest", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("device  backend    check ") and "cpu     tokenizer  tokens" in out
    monkeypatch.setattr(_selftest, "_TOLERANCES", {torch.float32: 0.0})
    assert main(["selftest", str(folder)]) == 1
    told = capsys.readouterr()
    assert "FAILED: " in told.out and told.err == ""
    assert main(["selftest", str(folder / "none")]) == 1
    assert "which is none of these" in capsys.readouterr().err
