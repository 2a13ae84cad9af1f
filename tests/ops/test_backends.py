"""Which backend runs, and why."""

import dataclasses
import logging

import pytest
import torch

from genemamba_sc import ops
from genemamba_sc.ops import (
    Choice,
    MixerWeights,
    _fused,
    _mamba_ssm,
    _triton,
    allows_tf32,
    available_backends,
    backend_info,
    choose_backend,
    ssd_scan,
)
from genemamba_sc.ops._chunked import ssd_chunked
from genemamba_sc.ops._composed import read_composed
from genemamba_sc.ops._core import check_shapes
from genemamba_sc.ops._precision import products
from genemamba_sc.ops._reference import ssd_reference

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _forget_choices(monkeypatch):
    monkeypatch.delenv("GENEMAMBA_BACKEND", raising=False)
    caches = (ops._automatic, _mamba_ssm.why_not, _triton.why_not, _triton._why_not_so_wide, _fused.why_not)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def no_triton(monkeypatch):
    """A GPU on which Triton does not run."""
    monkeypatch.setattr(_triton, "find_spec", lambda name: None)


@pytest.fixture
def with_triton(monkeypatch):
    """A GPU on which the Triton kernels are right."""
    monkeypatch.setattr(_triton, "find_spec", lambda name: object())
    monkeypatch.setattr(_triton, "_self_test", lambda *given: 1e-6)


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
    with pytest.raises(
        RuntimeError, match=r"'compiled', asked for, needs its kernels\. Got: the kernels do not .* backend='auto'"
    ):
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


@pytest.mark.usefixtures("with_triton")
@pytest.mark.parametrize(("has_gpu", "name"), [(False, "compiled"), (True, "triton")], ids=["CPU only", "GPU"])
def test_info_is_about_the_best_device(monkeypatch, has_gpu, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert backend_info().name == name
    assert backend_info("cpu").name == "compiled"


def test_a_name_is_obeyed():
    assert choose_backend(CPU, torch.float32, "reference") == Choice("reference", "asked for")


def test_a_variable_says_what_auto_takes(monkeypatch):
    monkeypatch.setenv("GENEMAMBA_BACKEND", "chunked")
    assert choose_backend(CPU, torch.float32) == Choice("chunked", "asked for by GENEMAMBA_BACKEND")
    assert choose_backend(CPU, torch.float32, "compiled") == Choice("compiled", "asked for")
    monkeypatch.setenv("GENEMAMBA_BACKEND", "triton")
    with pytest.raises(
        RuntimeError, match=r"'triton', asked for by GENEMAMBA_BACKEND, needs .* are for GPUs, this device .* Unset"
    ):
        choose_backend(CPU, torch.float32)
    monkeypatch.setenv("GENEMAMBA_BACKEND", "fast")
    with pytest.raises(
        ValueError, match=r"one of \['auto', .*\]\. Got 'fast' by GENEMAMBA_BACKEND\. Unset the environment"
    ):
        choose_backend(CPU, torch.float32)
    monkeypatch.setenv("GENEMAMBA_BACKEND", "")
    assert choose_backend(CPU, torch.float32).name == "compiled"


def test_refuses_an_unknown_name():
    with pytest.raises(
        ValueError,
        match=r"one of \['auto', 'reference', 'chunked', 'compiled', 'triton', 'mamba_ssm'\]\. Got 'cuda'\. Leave it",
    ):
        ssd_scan(*scan_inputs(), backend="cuda")


@pytest.mark.parametrize("backend", ["compiled", "triton"])
def test_a_scan_alone_has_no_fused_backend(backend):
    with pytest.raises(
        ValueError, match=rf"one of \['auto', .*\]\. Got '{backend}', which fuses .* Use 'auto', or read"
    ):
        ssd_scan(*scan_inputs(), backend=backend)


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


ERRORS = pytest.mark.parametrize(
    "error",
    [ModuleNotFoundError("No module named 'mamba_ssm'"), RuntimeError("no kernel image"), AssertionError("no CUDA")],
    ids=["not installed", "built for another GPU", "torch without CUDA"],
)


@pytest.mark.usefixtures("no_triton")
@ERRORS
def test_a_kernel_that_fails_is_not_taken(monkeypatch, error):
    def fail(device, dtype):
        raise error

    monkeypatch.setattr(_mamba_ssm, "_probe", fail)
    choice = choose_backend(CUDA, torch.float32)
    why = f"Triton is not installed; mamba-ssm does not run on 'cuda:0': {type(error).__name__}: {error}"
    assert choice == Choice("chunked", why)


@pytest.mark.usefixtures("no_triton")
def test_mamba_ssm_is_taken_where_triton_does_not_run(monkeypatch):
    monkeypatch.setattr(_mamba_ssm, "_probe", lambda device, dtype: None)
    assert choose_backend(CUDA, torch.float32) == Choice("mamba_ssm", "its kernels run here")
    assert choose_backend(CUDA, torch.float32, "mamba_ssm") == Choice("mamba_ssm", "asked for")
    assert available_backends(CUDA) == ("reference", "chunked", "mamba_ssm")


@pytest.mark.usefixtures("with_triton")
def test_triton_comes_first_on_a_gpu(monkeypatch):
    monkeypatch.setattr(_mamba_ssm, "_probe", lambda device, dtype: None)
    assert choose_backend(CUDA, torch.bfloat16) == Choice("triton", "its kernels pass their self-test here")
    assert available_backends(CUDA) == ("reference", "chunked", "triton", "mamba_ssm")


@ERRORS
def test_triton_kernels_that_fail_are_not_taken(monkeypatch, error):
    def fail(*given):
        raise error

    monkeypatch.setattr(_triton, "find_spec", lambda name: object())
    monkeypatch.setattr(_triton, "_self_test", fail)
    why = f"the Triton kernels do not run on 'cuda:0': {type(error).__name__}: {error}"
    assert _triton.why_not(CUDA, torch.float32) == why


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1.1e-4), (torch.bfloat16, float("nan"))])
def test_triton_kernels_that_are_wrong_are_not_taken(monkeypatch, dtype, error):
    monkeypatch.setattr(_triton, "find_spec", lambda name: object())
    monkeypatch.setattr(_triton, "_self_test", lambda *given: error)
    assert _triton.why_not(CUDA, dtype) == f"the Triton kernels are off by {error:.1e} of what plain PyTorch gives"


def test_triton_is_for_gpus_and_two_precisions():
    assert _triton.why_not(CPU, torch.float32) == "the Triton kernels are for GPUs, this device is 'cpu'"
    assert _triton.why_not(CUDA, torch.float16) == (
        "the Triton kernels work in float32 and bfloat16, not in torch.float16"
    )


def test_triton_has_a_tolerance_for_tf32(monkeypatch):
    monkeypatch.setattr(_triton, "find_spec", lambda name: object())
    monkeypatch.setattr(_triton, "_self_test", lambda device, dtype, p, n, tf32: 1e-3 if tf32 else 1e-6)
    assert _triton.why_not(CUDA, torch.float32) is None


def test_no_memory_is_no_verdict_on_the_kernels(monkeypatch):
    def fail(*given):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(_triton, "find_spec", lambda name: object())
    monkeypatch.setattr(_triton, "_self_test", fail)
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        _triton.why_not(CUDA, torch.float32)
    monkeypatch.setattr(_triton, "_self_test", lambda *given: 1e-6)
    assert _triton.why_not(CUDA, torch.float32) is None


def test_the_self_test_of_triton_sees_a_wrong_kernel_in_inference_mode(monkeypatch):
    def wrong(projected, mask, weights, directions):
        return 1.001 * read_composed(ssd_chunked, projected, mask, weights, directions)

    monkeypatch.setattr(_triton, "read_with_kernels", wrong)
    with torch.inference_mode():
        # Of the gradients of a sum of squares: a factor counts twice there.
        assert _triton._self_test(CPU, torch.float32, 16, 16, False) == pytest.approx(2e-3, rel=1e-2)


def mixer(p, n):
    """Tokens of a cell, its mask, and a mixer with one head."""
    generator = torch.Generator().manual_seed(0)
    x = p + 2 * n
    shapes = [(1, 5, p + x + 1), (x, 4), (x,), (1,), (1,), (1,), (p,)]
    projected, *weights = (torch.randn(shape, generator=generator) for shape in shapes)
    return projected, torch.ones(1, 5, dtype=torch.bool), MixerWeights(*weights, n_groups=1, d_state=n), "sum"


def test_wide_heads_run_in_plain_torch_and_say_so():
    given = mixer(p=130, n=2)
    with pytest.warns(
        UserWarning, match="heads of 130 and states of 2 channels: heads and states may have 128 channels"
    ):
        found = _triton.read_triton(*given)
    torch.testing.assert_close(found, read_composed(ssd_chunked, *given), rtol=0, atol=0)


@pytest.mark.parametrize(("error", "told"), [(1e-2, "are off by 1.0e-02"), (None, "do not run on 'cpu': OSError: no")])
def test_kernels_of_other_widths_are_tried_when_they_are_first_used(monkeypatch, error, told):
    tried = []

    def test(device, dtype, p, n, tf32):
        tried.append((p, n, tf32))
        if error is None:
            raise OSError("no")
        return error

    monkeypatch.setattr(_triton, "_self_test", test)
    given = mixer(p=8, n=4)
    with pytest.warns(UserWarning, match=f"heads of 8 and states of 4 channels: the Triton kernels {told}") as caught:
        found = [_triton.read_triton(*given) for _ in range(2)]
    assert len(caught) == 1 and tried == [(8, 4, False)]
    torch.testing.assert_close(found[1], read_composed(ssd_chunked, *given), rtol=0, atol=0)


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="this PyTorch has one switch")
def test_tf32_is_asked_by_the_newer_switch_and_restored():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        for setting, allowed in (("tf32", True), ("ieee", False)):
            matmul.fp32_precision = setting
            assert allows_tf32() == allowed
            with products(tf32=not allowed):
                assert allows_tf32() != allowed
            assert matmul.fp32_precision == setting
    finally:
        matmul.fp32_precision = before


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_together_is_refused():
    projected, mask, weights, directions = mixer(p=8, n=4)
    narrow = dataclasses.replace(weights, taps=weights.taps[:-1])
    grouped = dataclasses.replace(weights, n_groups=2)
    for tokens, at, of, told in (
        (
            projected[..., :-1],
            mask,
            weights,
            r"projected tokens must be 25 here\. Got 24\. Pass the weights of one mixer",
        ),
        (projected, mask[:, :-1], weights, r"tokens of the mask must be \(1, 5\) here\. Got \(1, 4\)"),
        (projected, mask, narrow, r"channels with taps must be 16 here\. Got 15"),
        (projected, mask, grouped, r"channels of x, B and C must be 24 here\. Got 16"),
    ):
        with pytest.raises(ValueError, match=told):
            check_shapes(tokens, at, of)


@pytest.mark.usefixtures("no_triton")
def test_double_precision_is_not_for_the_kernels(monkeypatch):
    monkeypatch.setattr(_mamba_ssm, "_probe", lambda device, dtype: None)
    why = (
        "the Triton kernels work in float32 and bfloat16, not in torch.float64; mamba-ssm has no torch.float64 kernels"
    )
    assert choose_backend(CUDA, torch.float64) == Choice("chunked", why)


def test_the_probe_of_mamba_ssm_runs_in_inference_mode(monkeypatch):
    def scan(x, dt, A, B, C, chunk_size, D):
        return ssd_reference(x, dt, A, B, C, D)

    def probe_on_the_cpu(device, dtype, probe=_mamba_ssm._probe):
        probe(CPU, dtype)

    monkeypatch.setattr(_mamba_ssm, "_kernel", lambda: scan)
    monkeypatch.setattr(_mamba_ssm, "_probe", probe_on_the_cpu)
    with torch.inference_mode():
        assert _mamba_ssm.why_not(CUDA, torch.float32) is None


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
