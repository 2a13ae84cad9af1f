"""The softmax over all genes in blocks, beside the plain form: time and memory of a forward and a backward pass.

python benchmarks/speed/softmax.py

Each line is a process of its own, so that its peak of memory is its own; times are the best of four.
"""

import argparse
import resource
import subprocess
import sys
import time

import torch
from torch.nn import functional as F

from genemamba_sc.nn import linear_cross_entropy

N_TOKENS = 25_428


def one(form: str, n: int, width: int, trained: bool) -> str:
    """Measure one form; a line of the table."""
    torch.manual_seed(0)
    table = torch.randn(N_TOKENS, width, requires_grad=trained)
    bias = torch.zeros(N_TOKENS, requires_grad=True)
    query = torch.randn(n, width, requires_grad=True)
    targets = torch.randint(0, N_TOKENS, (n,))
    before, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(4):
        query.grad = table.grad = bias.grad = None
        start = time.perf_counter()
        if form == "plain":
            loss = F.cross_entropy(F.linear(query, table, bias), targets)
        else:
            loss = linear_cross_entropy(query, table, bias, targets).loss
        loss.backward()
        times.append(time.perf_counter() - start)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    kind = "trained" if trained else "frozen"
    return f"| {n:,} | {width} | {kind} | {form} | {min(times):.2f} | {memory:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=4, metavar=("FORM", "N", "WIDTH", "TRAINED"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        form, n, width, trained = arguments.one
        print(one(form, int(n), int(width), trained == "True"))
        return
    print(f"{torch.get_num_threads()} threads, {N_TOKENS:,} tokens\n")
    print(
        "| hidden genes | width | gene table | form | seconds | MB more than before |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for n, width in ((1024, 64), (8192, 64), (1024, 512)):
        for trained in (False, True):
            for form in ("plain", "in blocks"):
                subprocess.run([sys.executable, __file__, "--one", form, str(n), str(width), str(trained)], check=True)


if __name__ == "__main__":
    main()
