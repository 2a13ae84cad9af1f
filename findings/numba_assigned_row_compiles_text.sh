#!/usr/bin/env bash
# Assigning one row of an array to another in a compiled function compiles the text of an error as well.
#
# Guess:  in a numba function ``out[0] = row`` compiles to the same few instructions as a loop over the columns, or to less.
# Truth:  the assignment may have to raise an error that tells both shapes. Its text is put together by numba's own strings, which are
#         compiled with the function: conversion of numbers, sizes of characters, concatenation. This happens though error and text may
#         never be needed. A loop, or assigning a number, compiles none of it. What counts is the time of the first call: in one process on one machine
#         3.9 s of the processor beside .1 for the loop. The file that cache=True writes holds it, too.
# Seen:   numba 0.68.1 (llvmlite 0.50.0), numpy 2.4.6, on x86-64 (Python 3.11). Source: running it, with numba's events of compilation.
#
# Prints how many functions are compiled, and whether those of strings are among them, and fails if that changes. Needs a network to
# install; PYTHON names the interpreter.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq "numba==0.68.1" "numpy==2.4.6"
cat >"$folder/run.py" <<'PY'
import numba
import numpy as np
from numba.core import event


class Names(event.Listener):
    def __init__(self):
        self.names = []

    def on_start(self, event):
        self.names.append(event.data["dispatcher"].py_func.__qualname__)

    def on_end(self, event):
        pass


def by_loop(out, row):
    for c in range(row.size):
        out[0, c] = row[c]


def by_number(out, row):
    out[0] = 1


def by_row(out, row):
    out[0] = row


for function in (by_loop, by_number, by_row):
    seen = Names()
    with event.install_listener("numba:compile", seen):
        numba.njit(function)(np.zeros((2, 3)), np.ones(3))
    text = any("concat" in name for name in seen.names)
    print(f"{function.__name__}: more than 20 functions compiled: {len(seen.names) > 20}; concatenation of strings: {text}")
PY
"$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
by_loop: more than 20 functions compiled: False; concatenation of strings: False
by_number: more than 20 functions compiled: False; concatenation of strings: False
by_row: more than 20 functions compiled: True; concatenation of strings: True
SEEN
