"""What a pretraining run costs, on paper: operations, hours, memory, data rate; by sizes and stated assumptions.

    python benchmarks/pretraining/plan.py --cells 30e6 --tokens 2048 --gpus 8

Nothing is measured here. `--peak` is the vendor's dense bf16 rate of an H200; the share of it that is reached is an
assumption, so the hours are shown for several.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speed"))
from _timing import markdown

from genemamba_sc import EncoderConfig

BYTES_PER_TOKEN = 3  # of the corpus: two for the id, one for the bin


def layer_flops(config: EncoderConfig, chunk: int) -> int:
    """Operations of one layer for one token, forward; a multiplication and an addition are two."""
    inner, state = config.expand * config.d_model, config.ngroups * config.d_state
    heads = inner // config.headdim
    projections = 2 * config.d_model * (2 * inner + 2 * state + heads) + 2 * inner * config.d_model
    convolution = 2 * config.d_conv * (inner + 2 * state)
    # Within a chunk: scores of all pairs, then their products with the inputs; between chunks: states made and read.
    scan = 2 * chunk * state + 2 * chunk * inner + 4 * config.d_state * inner
    return projections + 2 * (convolution + scan)  # the projections serve both directions


def head_flops(config: EncoderConfig, masked_share: float) -> float:
    """Operations of the softmax over all genes for one token, forward."""
    return 2 * config.d_model * config.vocab_size * masked_share


def parameters(config: EncoderConfig) -> int:
    """Parameters of table and layers."""
    inner, state = config.expand * config.d_model, config.ngroups * config.d_state
    heads = inner // config.headdim
    layer = config.d_model * (2 * inner + 2 * state + heads) + inner * config.d_model
    layer += (config.d_conv + 1) * (inner + 2 * state) + 3 * heads + inner
    return config.n_layer * layer + (config.vocab_size + 1) * config.d_model


def activation_bytes(config: EncoderConfig, recomputed: bool) -> int:
    """Bytes kept per token for the backward pass: half precision inside the layers, float32 between them."""
    inner, state = config.expand * config.d_model, config.ngroups * config.d_state
    between = 4 * config.d_model
    if recomputed:
        return config.n_layer * between
    projected = 2 * inner + 2 * state + inner // config.headdim
    # The projection; for each direction the convolved inputs, the scan's output and the gated norm's output.
    inside = 2 * (projected + 2 * ((inner + 2 * state) + 2 * inner) + config.d_model)
    return config.n_layer * (between + inside)


def main() -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=float, default=30e6)
    parser.add_argument("--tokens", type=float, default=2048, help="mean tokens of a cell")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--peak", type=float, default=989e12, help="operations per second of one GPU")
    parser.add_argument("--masked", type=float, default=0.3, help="share of the tokens that enter the softmax")
    parser.add_argument("--budget", type=int, default=131_072, help="tokens of a batch of one GPU")
    parser.add_argument("--chunk", type=int, default=64)
    a = parser.parse_args()
    config = replace(EncoderConfig.published(), vocab_size=25_428)
    forward = config.n_layer * layer_flops(config, a.chunk) + head_flops(config, a.masked)
    n_tokens, n_parameters = a.cells * a.tokens, parameters(config)
    print(f"{config.n_layer} layers of width {config.d_model}: {n_parameters / 1e6:.1f} M parameters")
    print(f"forward {forward / 1e6:.0f} M operations per token, a step 3x: {3 * forward / 1e6:.0f} M")
    print(f"one pass over {n_tokens / 1e9:.1f} G tokens: {3 * forward * n_tokens:.2e} operations")
    print(f"corpus {BYTES_PER_TOKEN * n_tokens / 1e9:.0f} GB")
    print(f"weights, gradient and both moments of AdamW in float32: {16 * n_parameters / 1e9:.1f} GB")
    for recomputed in (False, True):
        kept = activation_bytes(config, recomputed)
        how = "recomputed" if recomputed else "kept"
        print(
            f"activations {how}: {kept / 1e3:.0f} kB per token, {kept * a.budget / 1e9:.1f} GB for {a.budget:,} tokens"
        )
    rows: list[tuple[object, ...]] = []
    for share in (0.05, 0.1, 0.2, 0.4):
        rate = share * a.peak * a.gpus / (3 * forward)  # tokens per second of all
        hours = n_tokens / rate / 3600
        cells = rate / a.tokens
        megabytes = rate * BYTES_PER_TOKEN / 1e6
        rows.append((f"{share:.0%}", f"{rate / 1e6:.1f} M", f"{cells:,.0f}", f"{megabytes:.0f}", f"{hours:.1f}"))
        rows[-1] = (*rows[-1], f"{hours * 4 / 3:.1f}")
    header = ("share of the peak", "tokens/s", "cells/s", "MB/s read", "hours per pass", "hours, recomputed")
    print("\n" + markdown(header, rows))


if __name__ == "__main__":
    main()
