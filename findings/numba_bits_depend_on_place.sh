#!/usr/bin/env bash
# A compiled loop gives other bits where one of its arrays is a row of another one that the loop steps over.
#
# Guess:  numba compiles a function once for given types. The same numbers in arrays of the same types give the same bits, wherever
#         the arrays lie, as long as no element that is written is read as one of another array. fastmath=True changes the sums, but
#         the same way each time.
# Truth:  before a loop that sums and writes, LLVM's vectoriser asks whether the arrays overlap, once for all rounds of the outer loop
#         and by the ranges that these pass. A row that the outer loop steps over lies in such a range, so the loop runs one number
#         at a time, and fastmath had allowed another order of the sum for vectors. So results change in the last bits when working
#         memory moves into one allocation with the data, or out of it; a second run gives the same again. Without fastmath they do not.
#         A library that promises equal bits has to lay its arrays out the same way each time, or keep sums and writes apart.
# Seen:   numba 0.68.1 (llvmlite 0.50.0) on x86-64 (Python 3.11); with numba 0.60.0 both runs have the same bits. Source: running it; LLVM's documentation of the loop
#         vectoriser describes the checks at run time.
#
# Prints what was equal, and fails if that changes. Needs a network to install; PYTHON names the interpreter.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq "numba==${NUMBA:-0.68.1}"
cat >"$folder/run.py" <<'PY'
import numba
import numpy as np

STEPS, WIDTH, SKIPPED = 101, 64, 50


def scan(state, inputs, weights, out):
    for t in range(inputs.shape[0]):
        if t == SKIPPED:
            continue
        new, weight, total = inputs[t], weights[t], np.float32(0)
        for c in range(state.size):
            value = state[c] * np.float32(0.9) + new[c]
            state[c] = value
            total += value * weight[c]
        out[t] = total


def run(compiled, inside):
    """The skipped row of the inputs holds the state, or another array does; it starts with 0 in both."""
    inputs, weights = np.random.default_rng(0).normal(size=(2, STEPS, WIDTH)).astype(np.float32)
    inputs = inputs.copy()
    inputs[SKIPPED] = 0
    state = inputs[SKIPPED] if inside else np.zeros(WIDTH, np.float32)
    out = np.zeros(STEPS, np.float32)
    compiled(state, inputs, weights, out)
    assert len(compiled.signatures) == 1
    return out


for fastmath in (True, False):
    compiled = numba.njit(fastmath=fastmath)(scan)
    apart, again, inside = run(compiled, False), run(compiled, False), run(compiled, True)
    close = np.allclose(apart, inside, rtol=1e-4, atol=1e-4)
    print(
        f"fastmath={fastmath}: same place, same bits: {np.array_equal(apart, again)};",
        f"in the inputs' memory, same bits: {np.array_equal(apart, inside)}; close: {close}",
    )
PY
"$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
fastmath=True: same place, same bits: True; in the inputs' memory, same bits: False; close: True
fastmath=False: same place, same bits: True; in the inputs' memory, same bits: True; close: True
SEEN
