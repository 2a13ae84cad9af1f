"""Values, speed and memory on a GPU: mixer and encoder of the published shape, embedding, a minute of pretraining.

    python benchmarks/speed/gpu.py --cells pbmc3k.h5ad --markdown benchmarks/speed/results/gpu.md

Without ``--cells`` only the rows that need no cells are printed. ``--rehearse`` runs everything with tiny sizes on a
CPU. The backends of a row are called in turn, and the medians are of events on the device. ``mamba_ssm`` is its scan
inside our mixer; ``transformers`` is the module of that package, run once per direction on the same weights.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from _peer import transformers_mixer
from _timing import markdown
from torch import Tensor

from genemamba_sc.nn import BiMambaEncoder, EncoderConfig, Mamba2Mixer
from genemamba_sc.ops import MixerWeights, available_backends, read_tokens

PRECISIONS = ("float32", "float32, TF32 products", "bfloat16 autocast")
GIB = 2**30


@dataclass(frozen=True)
class Sizes:
    """How large the measured shapes are."""

    width: int = 512
    layers: int = 24
    state: int = 64
    tokens: int = 2048
    cells: int = 8
    repeats: int = 5
    steps: int = 150
    copies: int = 8


@contextmanager
def precision(name: str, device: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if "TF32" in name else "highest")
    try:
        with torch.autocast(device, torch.bfloat16, enabled=name.startswith("bfloat16")):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def milliseconds(function: Callable[[], object], device: str) -> float:
    if device == "cpu":
        start = time.perf_counter()
        function()
        return 1000 * (time.perf_counter() - start)
    first, last = torch.cuda.Event(True), torch.cuda.Event(True)
    first.record()
    function()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last)


def in_turn(functions: dict[str, Callable[[], object]], device: str, repeats: int) -> dict[str, float | str]:
    """Median milliseconds of each function, or what stopped it."""
    found: dict[str, list[float]] = {}
    failed: dict[str, float | str] = {}
    for name, function in functions.items():
        try:
            function()
            found[name] = []
        except Exception as error:  # noqa: BLE001  a peer that does not run here is a row of the table
            failed[name] = f"{type(error).__name__}"
    for _ in range(repeats):
        for name, times in found.items():
            times.append(milliseconds(functions[name], device))
    return {**{name: median(times) for name, times in found.items()}, **failed}


def errors(sizes: Sizes, device: str) -> list[tuple[object, ...]]:
    """Largest relative errors of a mixer of the published width against the recurrence in float64."""
    heads, p, n = sizes.width * 2 // 64, 64, sizes.state
    inner, l, channels = heads * p, 300, heads * p + 2 * n
    drawn = torch.Generator().manual_seed(0)
    shapes = [(2, l, inner + channels + heads), (channels, 4), (channels,), (heads,), (heads,), (heads,), (inner,)]
    leaves = [torch.randn(shape, generator=drawn, dtype=torch.float64).to(device) for shape in shapes]
    leaves[0] = leaves[0].bfloat16().double()
    leaves[3] -= 4
    leaves[4] = -1 - leaves[4].abs()
    mask = torch.arange(l, device=device) < torch.tensor([[l], [170]], device=device)

    def compute(dtype: torch.dtype, backend: str) -> list[Tensor]:
        kinds = [dtype] + [torch.promote_types(dtype, torch.float32)] * 6
        own = [leaf.to(kind).requires_grad_() for leaf, kind in zip(leaves, kinds)]
        y = read_tokens(own[0], mask, MixerWeights(*own[1:], n_groups=1, d_state=n), backend=backend)
        weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y)
        return [y.detach(), *torch.autograd.grad((y * weight).sum(), own)]

    truth = compute(torch.float64, "reference")
    rows: list[tuple[object, ...]] = []
    for dtype in (torch.float32, torch.bfloat16):
        for backend in available_backends(device, dtype):
            values = compute(dtype, backend)
            off = [float((v.double() - t).norm() / t.norm()) for v, t in zip(values, truth)]
            rows.append((str(dtype)[6:], backend, f"{off[0]:.1e}", f"{max(off[1:]):.1e}"))
    return rows


def mixer_calls(sizes: Sizes, device: str, training: bool) -> dict[str, Callable[[], object]]:
    """Both directions of one mixer, up to its output projection, by each backend and by transformers."""
    torch.manual_seed(0)
    x = torch.randn(sizes.cells, sizes.tokens, sizes.width, device=device, requires_grad=training)
    mask = torch.ones(x.shape[:2], dtype=torch.bool, device=device)
    mixer = Mamba2Mixer(sizes.width, sizes.state).to(device)

    def ours(backend: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            mixer.backend = backend
            return mixer.out_proj(mixer.sum_of_ways(x, mask))

        return read

    names = [name for name in available_backends(device) if name != "reference"]
    reads: dict[str, Callable[[], Tensor]] = {name: ours(name) for name in names}
    leaves = [x, *mixer.parameters()]
    theirs = transformers_mixer(mixer).to(device)
    reads["transformers"] = lambda: theirs(x) + theirs(x.flip(1)).flip(1)
    leaves += list(theirs.parameters())
    return {name: step(read, leaves, training) for name, read in reads.items()}


def step(read: Callable[[], Tensor], leaves: list[Tensor], training: bool) -> Callable[[], object]:
    def train() -> object:
        y = read()
        return torch.autograd.grad(y, leaves, torch.ones_like(y), allow_unused=True)

    def forward() -> object:
        with torch.no_grad():
            return read()

    return train if training else forward


def encoder_calls(sizes: Sizes, device: str, training: bool) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    config = EncoderConfig(
        vocab_size=25_426, d_model=sizes.width, n_layer=sizes.layers, d_state=sizes.state, context_len=None
    )
    encoder = BiMambaEncoder(config).to(device)
    ids = torch.randint(2, 25_426, (sizes.cells, sizes.tokens), device=device)
    values, lengths = torch.rand(ids.shape, device=device) + 0.1, torch.full((len(ids),), ids.shape[1], device=device)

    def read(backend: str) -> Callable[[], Tensor]:
        def embed() -> Tensor:
            for layer in encoder.layers:
                layer.mixer.backend = backend
            return encoder(ids, values, lengths).cell

        return embed

    names = [name for name in available_backends(device) if name != "reference"]
    return {name: step(read(name), list(encoder.parameters()), training) for name in names}


def speeds(
    calls: Callable[[Sizes, str, bool], dict[str, Callable[[], object]]], sizes: Sizes, device: str
) -> list[tuple[object, ...]]:
    rows = []
    for training in (False, True):
        for name in PRECISIONS:
            with precision(name, device):
                functions = calls(sizes, device, training)
                times = in_turn(functions, device, sizes.repeats)
                for backend, time_ in times.items():
                    what = (("training" if training else "forward"), name, backend)
                    if isinstance(time_, str):
                        rows.append((*what, time_, "–", "–", "–"))
                        continue
                    rate, chunked = sizes.cells * sizes.tokens / time_ * 1000, times["chunked"]
                    ratio = f"{chunked / time_:.2f}" if isinstance(chunked, float) else "–"
                    peak = f"{peak_gib(functions[backend], device):.2f}"
                    rows.append((*what, f"{time_:.2f}", f"{rate:,.0f}", ratio, peak))
                print(*rows[-len(times) :], sep="\n", file=sys.stderr, flush=True)
    return rows


def peak_gib(function: Callable[[], object], device: str) -> float:
    """Peak of the memory that torch took on the device, over what was there before."""
    if device == "cpu":
        return 0.0
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    function()
    return (torch.cuda.max_memory_allocated() - before) / GIB


def embedding(file: str, sizes: Sizes, device: str) -> list[tuple[object, ...]]:
    """Cells per second of get_latent_representation with the weights that ship, tokens made on the CPU."""
    import anndata

    import genemamba_sc as gm

    cells = anndata.read_h5ad(file)
    many = anndata.concat([cells] * sizes.copies, index_unique="-")
    gm.GeneMambaModel.setup_anndata(many)
    model = gm.GeneMambaModel.from_pretrained("mini", many)
    model.train(max_epochs=0, accelerator="cpu")
    rows = []
    for place in dict.fromkeys((device, "cpu")):
        model.to_device(place)
        model.get_latent_representation(many[:100].copy())
        times = []
        for _ in range(3):
            start = time.perf_counter()
            model.get_latent_representation(many)
            times.append(time.perf_counter() - start)
        rows.append((place, f"{many.n_obs:,}", f"{many.n_obs / median(times):,.0f}", torch.get_num_threads()))
    return rows


def pretraining(file: str, sizes: Sizes, device: str) -> list[tuple[object, ...]]:
    """Seconds of the commands, and the median of the tokens per second in the run's own log, but for the first line."""
    size = "mini" if device == "cpu" else "published"
    accelerator = "cpu" if device == "cpu" else "gpu"
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run("tokenize", file, f"{folder}/corpus")
        tokenized = time.perf_counter() - start
        precise = "32" if device == "cpu" else "bf16-mixed"
        options = [
            "--max-steps",
            str(sizes.steps),
            "--size",
            size,
            "--precision",
            precise,
            "--accelerator",
            accelerator,
        ]
        start = time.perf_counter()
        run("pretrain", f"{folder}/corpus", f"{folder}/out", *options, "--log-every", "10")
        seconds = time.perf_counter() - start
        (log,) = Path(f"{folder}/out.run").rglob("*.csv")
        with log.open(encoding="utf-8") as lines:
            rates = [float(row["tokens_per_second"]) for row in csv.DictReader(lines)]
    return [(size, precise, sizes.steps, f"{tokenized:.0f}", f"{seconds:.0f}", f"{median(rates[1:]):,.0f}")]


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "genemamba_sc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout + done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", help="h5ad with counts")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    device = "cpu" if arguments.rehearse else "cuda"
    sizes = Sizes(64, 1, 16, 64, 2, 1, 20, 1) if arguments.rehearse else Sizes()
    name = "a CPU, rehearsal" if arguments.rehearse else torch.cuda.get_device_name()
    versions = ", ".join(f"{package} {version(package)}" for package in ("torch", "triton", "numpy"))
    parts = [f"{name}, {versions}; {sizes}", ""]

    def table(title: str, header: tuple[str, ...], make: Callable[[], list[tuple[object, ...]]]) -> None:
        start = time.perf_counter()
        parts.extend([f"## {title}", "", markdown(header, make()), ""])
        print(f"{title}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        if arguments.markdown:
            arguments.markdown.write_text("\n".join(parts), encoding="utf-8")

    speed = ("", "precision", "backend", "ms", "tokens/s", "times chunked", "peak GiB")
    table("Errors of a mixer", ("type", "backend", "values", "gradients"), lambda: errors(sizes, device))
    table("One mixer, both directions", speed, lambda: speeds(mixer_calls, sizes, device))
    table("Encoder", speed, lambda: speeds(encoder_calls, sizes, device))
    if arguments.cells:
        embed = ("device", "cells", "cells/s", "threads")
        table("Embedding with the weights that ship", embed, lambda: embedding(arguments.cells, sizes, device))
        pretrain = ("size", "precision", "steps", "tokenize, s", "whole command, s", "tokens/s in its log")
        table("Pretraining", pretrain, lambda: pretraining(arguments.cells, sizes, device))
    print("\n".join(parts))


if __name__ == "__main__":
    main()
