"""Speed of a bidirectional layer on a CPU: against its own projections, one direction, and what others offer.

    OMP_NUM_THREADS=1 python benchmarks/speed/encoder.py --threads 1
    python benchmarks/speed/encoder.py --threads 2 --markdown benchmarks/speed/results/encoder.md

Every row is one run: the variants are called in turn, and the medians are divided, of processor time with one thread
and of time on the wall with more. Memory is the peak of a fresh process over what it held before the call (Linux only).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from _machine import machine_line
from _peer import transformers_mixer
from _timing import in_turn, markdown
from torch import Tensor, nn

from genemamba_sc.nn import BiMambaEncoder, EncoderConfig, Mamba2Mixer

Call = Callable[[], object]
# transformers' module keeps (tokens, chunk, heads, states) numbers: beyond this a laptop's memory is full.
_LONGEST_THEIRS = 2048


class Layer:
    """One bidirectional mixer and its inputs, the transformers module and a transformer layer beside it."""

    def __init__(self, d_model: int, d_state: int, tokens: int, total: int, backend: str) -> None:
        torch.manual_seed(0)
        cells = max(1, total // tokens)
        self.mixer = Mamba2Mixer(d_model, d_state, backend=backend)
        self.x = torch.randn(cells, tokens, d_model, requires_grad=True)
        self.inner = torch.randn(cells, tokens, self.mixer.d_inner, requires_grad=True)
        self.mask = torch.ones(cells, tokens, dtype=torch.bool)

    def floor(self) -> tuple[Tensor, Tensor]:
        """The two projections alone."""
        return self.mixer.in_proj(self.x), self.mixer.out_proj(self.inner)

    def one(self) -> Tensor:
        return self.mixer(self.x, self.mask)

    def both(self) -> Tensor:
        return self.mixer.out_proj(self.mixer.sum_of_ways(self.x, self.mask))

    def theirs(self) -> Callable[[], Tensor]:
        """transformers' module on the same weights, run in both directions."""
        module = transformers_mixer(self.mixer)
        self.their_parameters = list(module.parameters())
        return lambda: module(self.x) + module(self.x.flip(1)).flip(1)

    def parameters(self) -> list[Tensor]:
        return [self.x, *self.mixer.parameters()]


def no_grad(function: Call) -> Call:
    def run() -> None:
        with torch.no_grad():
            function()

    return run


def train(function: Callable[[], Tensor | tuple[Tensor, ...]], leaves: list[Tensor]) -> Call:
    """Forward and backward; the gradient of every output is one."""

    def run() -> None:
        outputs = function()
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        torch.autograd.grad(outputs, leaves, [torch.ones_like(y) for y in outputs], allow_unused=True)

    return run


def variants(layer: Layer, training: bool, with_theirs: bool) -> dict[str, Call]:
    leaves = layer.parameters()
    found: dict[str, tuple[Callable[[], Tensor | tuple[Tensor, ...]], list[Tensor]]] = {
        "floor": (layer.floor, [layer.x, layer.inner, layer.mixer.in_proj.weight, layer.mixer.out_proj.weight]),
        "one": (layer.one, leaves),
        "both": (layer.both, leaves),
    }
    if with_theirs:
        theirs = layer.theirs()
        found["theirs"] = (theirs, [layer.x, *layer.their_parameters])
    return {name: train(*given) if training else no_grad(given[0]) for name, given in found.items()}


def stacks(d_model: int, tokens: int, total: int) -> dict[str, tuple[nn.Module, Callable[[], Tensor], int]]:
    """Two of our layers and one transformer layer: the same number of parameters but for a few per cent."""
    cells = max(1, total // tokens)
    config = EncoderConfig(vocab_size=8, d_model=d_model, n_layer=2, d_state=16, expand=2, context_len=None)
    encoder = BiMambaEncoder(config)
    x = torch.randn(cells, tokens, d_model, requires_grad=True)
    weight, mask = torch.ones(cells, tokens), torch.ones(cells, tokens, dtype=torch.bool)
    transformer = nn.TransformerEncoderLayer(
        d_model, d_model // 64, 4 * d_model, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )

    def ours() -> Tensor:
        y = x
        for layer in encoder.layers:
            y = layer(y, weight, mask, None)
        return y

    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    return {
        "ours": (encoder.layers, ours, count(encoder.layers)),
        "transformer": (transformer, lambda: transformer(x), count(transformer)),
    }


def layer_row(
    d_model: int, d_state: int, tokens: int, training: bool, options: argparse.Namespace
) -> dict[str, object]:
    layer = Layer(d_model, d_state, tokens, options.total, options.backend)
    with_theirs = tokens <= _LONGEST_THEIRS
    seconds = in_turn(variants(layer, training, with_theirs), options.repeats)
    took = {name: found.cpu if options.threads == 1 else found.wall for name, found in seconds.items()}
    both = took["both"]
    read = layer.x.shape[0] * layer.x.shape[1]
    return {
        "d_model": d_model,
        "d_state": d_state,
        "tokens": tokens,
        "pass": "training" if training else "forward",
        "tokens/s": f"{read / both:,.0f}",
        "both / one": f"{both / took['one']:.2f}",
        "% of floor": f"{100 * took['floor'] / both:.0f}",
        "transformers / ours": f"{took['theirs'] / both:.1f}" if with_theirs else "not run",
    }


def stack_row(d_model: int, tokens: int, training: bool, options: argparse.Namespace) -> dict[str, object]:
    pair = stacks(d_model, tokens, options.total)
    calls = {
        name: train(function, list(module.parameters())) if training else no_grad(function)
        for name, (module, function, _) in pair.items()
    }
    seconds = in_turn(calls, options.repeats)
    took = {name: found.cpu if options.threads == 1 else found.wall for name, found in seconds.items()}
    sizes = {name: count for name, (_, _, count) in pair.items()}
    return {
        "d_model": d_model,
        "tokens": tokens,
        "pass": "training" if training else "forward",
        "parameters, ours": f"{sizes['ours']:,}",
        "transformer's": f"{sizes['transformer']:,}",
        "transformer / ours": f"{took['transformer'] / took['ours']:.2f}",
    }


def resident_mb(field: str) -> float:
    """``VmRSS`` now, or ``VmHWM``, the peak since it was last reset."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def memory(d_model: int, tokens: int, training: bool, variant: str) -> float:
    """Peak of this process during one call, over what it held before, in MB."""
    layer = Layer(d_model, 16, tokens, tokens, "auto")
    warm = Layer(d_model, 16, 64, 64, "auto")
    with_theirs = variant == "theirs"
    variants(warm, training, with_theirs)[variant]()
    call = variants(layer, training, with_theirs)[variant]
    before = resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak starts anew
    call()
    return resident_mb("VmHWM") - before


def memory_row(d_model: int, tokens: int, training: bool) -> dict[str, object]:
    found = {}
    for variant in ("both", *(["theirs"] if tokens <= _LONGEST_THEIRS else [])):
        given = json.dumps([d_model, tokens, training, variant])
        command = [sys.executable, __file__, "--memory-of", given]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[variant] = float(done.stdout)
    return {
        "d_model": d_model,
        "tokens": tokens,
        "pass": "training" if training else "forward",
        "ours, MB": f"{found['both']:.0f}",
        "kB per token": f"{1024 * found['both'] / tokens:.1f}",
        "transformers, MB": f"{found['theirs']:.0f}" if "theirs" in found else "not run",
        "ours / transformers": f"{found['both'] / found['theirs']:.2f}" if found.get("theirs") else "",
    }


def table(rows: list[dict[str, object]]) -> str:
    return markdown(tuple(rows[0]), [tuple(row.values()) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--d-model", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--d-state", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 1024, 2048, 4096, 16384])
    parser.add_argument("--total", type=int, default=4096, help="tokens of a batch, at least one cell")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backend", default="auto", help="of our mixer in the first table")
    parser.add_argument("--markdown", type=Path, help="append the tables to this file, too")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(memory(*json.loads(options.memory_of)))
        return
    say = [f"`{machine_line(options.threads)}`; `python benchmarks/speed/encoder.py {' '.join(sys.argv[1:])}`"]
    passes = [(d, l, training) for d in options.d_model for l in options.tokens for training in (False, True)]
    layers = [layer_row(d, n, l, training, options) for n in options.d_state for d, l, training in passes]
    say += ["One bidirectional mixer", table(layers)]
    say += ["Two layers and one transformer layer (SDPA)", table([stack_row(*given, options) for given in passes])]
    say += ["Memory of one call, one cell, d_state 16", table([memory_row(*given) for given in passes])]
    text = "\n\n".join([*say, f"`{machine_line(options.threads)}` at the end"]) + "\n"
    print(text)
    if options.markdown:
        with options.markdown.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
