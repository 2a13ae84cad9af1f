"""Projections in bfloat16 under torch.autocast against float32: one bidirectional mixer, forward.

    OMP_NUM_THREADS=1 python benchmarks/speed/bf16.py

The compiled kernel works in float32 either way. A processor without bfloat16 instructions is slower with it.
"""

import torch
from _machine import machine_line
from _timing import in_turn, markdown
from torch import Tensor

from genemamba_sc.nn import Mamba2Mixer

SHAPES = ((64, 1, 16), (256, 2, 16), (512, 2, 64))  # d_model, expand, d_state


@torch.no_grad()
def row(d_model: int, expand: int, d_state: int) -> tuple[object, ...]:
    mixer = Mamba2Mixer(d_model, d_state, expand=expand)
    x, mask = torch.randn(8, 512, d_model), torch.ones(8, 512, dtype=torch.bool)

    def single() -> Tensor:
        return mixer.out_proj(mixer.sum_of_ways(x, mask))

    def half() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return single()

    truth = single()
    error = float((half().float() - truth).norm() / truth.norm())
    seconds = in_turn({"single": single, "half": half})
    return d_model, expand, d_state, f"{seconds['single'].cpu / seconds['half'].cpu:.2f}", f"{error:.1e}"


def main() -> None:
    torch.set_num_threads(1)
    print(f"`{machine_line(1)}`\n")
    print(markdown(("d_model", "expand", "d_state", "float32 / bfloat16", "relative error"), [row(*s) for s in SHAPES]))


if __name__ == "__main__":
    main()
