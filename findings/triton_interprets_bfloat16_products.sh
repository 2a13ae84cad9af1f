#!/usr/bin/env bash
# Triton's interpreter, by which kernels are tested without a GPU: products of bfloat16 matrices.
#
# Guess:  TRITON_INTERPRET=1 computes tl.dot of two bfloat16 blocks as a GPU does, up to rounding, or raises an error: numpy has no
#         bfloat16, so the interpreter converts first.
# Truth:  it multiplies the bit patterns as whole numbers. The result is of the order of 1e10 where it should be of the order of 10;
#         no error, no warning. Conversions of bfloat16 are right, and so are products of the same blocks after .to(tl.float32).
#         The page on debugging in Triton's documentation names products of bfloat16 as a limitation; nothing says so at run time.
#         A test that compares two interpreted kernels with each other passes.
# Seen:   triton 3.6.0 and 3.9.0 with torch 2.11.0 and 2.13.0, on x86-64 Linux. Source: running them.
#
# Prints the largest errors, and fails if that changes. Needs a network to install; PYTHON names the interpreter (3.11 or newer).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq "triton==3.9.0" "torch==2.13.0" "numpy==2.4.6"
cat >"$folder/run.py" <<'PY'
import torch
import triton
from triton import language as tl


@triton.jit
def products(a, b, plain, converted):
    at = tl.arange(0, 16)
    place = at[:, None] * 16 + at[None, :]
    x, y = tl.load(a + place), tl.load(b + place)
    tl.store(plain + place, tl.dot(x, y))
    tl.store(converted + place, tl.dot(x.to(tl.float32), y.to(tl.float32)))


torch.manual_seed(0)
a, b = (torch.randn(16, 16).bfloat16() for _ in range(2))
plain, converted = torch.empty(16, 16), torch.empty(16, 16)
products[(1,)](a, b, plain, converted)
truth = a.float() @ b.float()
off = [float((found - truth).abs().max()) for found in (plain, converted)]
print(f"triton {triton.__version__}: largest value {float(truth.abs().max()):.1f}")
print(f"error of tl.dot on bfloat16: {off[0]:.1e}; after conversion to float32: {off[1]:.1e}")
assert off[0] > 1e6 and off[1] < 1e-4, "this has changed"
PY
TRITON_INTERPRET=1 "$folder/venv/bin/python" "$folder/run.py"
