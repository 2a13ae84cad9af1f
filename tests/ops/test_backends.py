"""Which backend runs, and why."""

import logging

import pytest
import torch

from genemamba_sc import ops
from genemamba_sc.ops import Choice, _fused, _mamba_ssm, available_backends, backend_info, choose_backend, ssd_scan
from genemamba_sc.ops._reference import ssd_reference

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _forget_choices():
    ops._automatic.cache_clear()
    _mamba_ssm.why_not.cache_clear()
    _fused.why_not.cache_clear()
    yield
    ops._automatic.cache_clear()
    _mamba_ssm.why_not.cache_clear()
    _fused.why_not.cache_clear()


def scan_inputs(l=7):
    generator = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    return rand(2, l, 2, 3), rand(2, l, 2), -rand(2), rand(2, l, 1, 4), rand(2, l, 1, 4), rand(2)


def test_cpu_takes_the_compiled_kernels():
    assert choose_backend("cpu", torch.float32) == Choice("compiled", "its kernels pass their self-test here")
    assert available_backends("cpu") == ("reference", "chunked", "compiled")


def test_double_precision_on_a_cpu_takes_the_chunked_form():
    assert choose_backend("cpu", torch.float64) == Choice(
        "chunked", "the compiled kernels work in float32, not in torch.float64"
    )
    assert available_backends("cpu", torch.float64) == ("reference", "chunked")


def test_kernels_that_do_not_compile_are_not_taken(monkeypatch):
    def fail():
        raise OSError("no compiler here")

    monkeypatch.setattr(_fused, "_self_test", fail)
    assert choose_backend("cpu", torch.float32) == Choice(
        "chunked", "the kernels do not compile: OSError: no compiler here"
    )
    with pytest.raises(RuntimeError, match=r"'compiled' needs its kernels\. Got: the kernels do not .* backend='auto'"):
        choose_backend("cpu", torch.float32, "compiled")


def test_kernels_that_are_wrong_are_not_taken(monkeypatch):
    monkeypatch.setattr(_fused, "_self_test", lambda: 2e-3)
    assert choose_backend("cpu", torch.float32) == Choice(
        "chunked", "the compiled kernels are off by 2.0e-03 of what plain PyTorch gives"
    )


def test_self_test_sees_a_wrong_kernel(monkeypatch):
    right = _fused.read_compiled
    _fused._self_test.cache_clear()
    monkeypatch.setattr(_fused, "read_compiled", lambda *given: 1.001 * right(*given))
    assert _fused._self_test() == pytest.approx(1e-3, rel=1e-2)
    _fused._self_test.cache_clear()


@pytest.mark.parametrize(("has_gpu", "name"), [(False, "compiled"), (True, "mamba_ssm")], ids=["CPU only", "GPU"])
def test_info_is_about_the_best_device(monkeypatch, has_gpu, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(_mamba_ssm, "_probe", lambda device, dtype: None)
    assert backend_info().name == name
    assert backend_info("cpu").name == "compiled"


def test_a_name_is_obeyed():
    assert choose_backend(CPU, torch.float32, "reference") == Choice("reference", "asked for")


def test_refuses_an_unknown_name():
    with pytest.raises(
        ValueError,
        match=r"one of \['auto', 'reference', 'chunked', 'compiled', 'mamba_ssm'\]\. Got 'triton'\. Leave it at 'auto'",
    ):
        ssd_scan(*scan_inputs(), backend="triton")


def test_refuses_mamba_ssm_where_it_does_not_run():
    with pytest.raises(
        RuntimeError,
        match=r"needs its kernels\. Got: mamba-ssm needs a CUDA device, .*Install genemamba-sc\[cuda\].*'auto'",
    ):
        ssd_scan(*scan_inputs(), backend="mamba_ssm")


def test_choice_is_logged_once(caplog):
    with caplog.at_level(logging.INFO, logger="genemamba_sc.ops"):
        for _ in range(3):
            choose_backend(CPU, torch.float32)
    assert [record.getMessage() for record in caplog.records] == [
        "Backend on cpu in torch.float32: compiled (its kernels pass their self-test here)."
    ]


@pytest.mark.parametrize(
    "error",
    [ModuleNotFoundError("No module named 'mamba_ssm'"), RuntimeError("no kernel image"), AssertionError("no CUDA")],
    ids=["not installed", "built for another GPU", "torch without CUDA"],
)
def test_a_kernel_that_fails_is_not_taken(monkeypatch, error):
    def fail(device, dtype):
        raise error

    monkeypatch.setattr(_mamba_ssm, "_probe", fail)
    choice = choose_backend(CUDA, torch.float32)
    assert choice == Choice("chunked", f"mamba-ssm does not run on 'cuda:0': {type(error).__name__}: {error}")


def test_a_kernel_that_runs_is_taken(monkeypatch):
    monkeypatch.setattr(_mamba_ssm, "_probe", lambda device, dtype: None)
    assert choose_backend(CUDA, torch.float32) == Choice("mamba_ssm", "its kernels run here")
    assert choose_backend(CUDA, torch.float32, "mamba_ssm") == Choice("mamba_ssm", "asked for")
    assert available_backends(CUDA) == ("reference", "chunked", "mamba_ssm")


def test_double_precision_is_not_for_the_kernels(monkeypatch):
    monkeypatch.setattr(_mamba_ssm, "_probe", lambda device, dtype: None)
    assert choose_backend(CUDA, torch.float64) == Choice("chunked", "mamba-ssm has no torch.float64 kernels")


def test_probe_runs_backward(monkeypatch):
    # A kernel that only knows the forward pass must be refused.
    monkeypatch.setattr(_mamba_ssm, "_kernel", lambda: lambda x, dt, A, B, C, chunk_size, D: x.detach())
    with pytest.raises(RuntimeError, match="does not require grad"):
        _mamba_ssm._probe(CPU, torch.float32)


def test_probe_refuses_values_that_are_not_finite(monkeypatch):
    def kernel(x, dt, A, B, C, chunk_size, D):
        return ssd_reference(x, dt, A, B, C, D) * torch.nan

    monkeypatch.setattr(_mamba_ssm, "_kernel", lambda: kernel)
    with pytest.raises(ArithmeticError, match="not finite"):
        _mamba_ssm._probe(CPU, torch.float32)


@pytest.mark.parametrize("reverse", [False, True], ids=["left to right", "right to left"])
def test_wrapper_hands_over_the_arguments(monkeypatch, reverse):
    calls = []

    def kernel(x, dt, A, B, C, chunk_size, D):
        calls.append((chunk_size, all(t.is_contiguous() for t in (x, dt, B, C))))
        return ssd_reference(x, dt, A, B, C, D)

    monkeypatch.setattr(_mamba_ssm, "_kernel", lambda: kernel)
    inputs = scan_inputs()
    y = _mamba_ssm.ssd_mamba_ssm(*inputs, chunk_size=32, reverse=reverse)
    torch.testing.assert_close(y, ssd_reference(*inputs, reverse=reverse))
    assert calls == [(32, True)]
