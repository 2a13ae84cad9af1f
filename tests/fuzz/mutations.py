"""How files are damaged: bits, bytes, values of another kind, keys, lines. Numbers are large, never code."""

import copy
import gzip
import json
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

# What stands in the place of a value. Sizes are bounded by what the memory limit of the tests catches.
VALUES = (
    None, True, False, 0, 1, -1, 2, 3, 64, 10**6, 2**31, 2**53, -(2**40), 10**30, 0.5, -2.5, 1e308, 1e-308,
    math.nan, math.inf, -math.inf, "", "text", "1", "nan", "../x", "\u00e9\u4e2d", "a" * 5000,
    [], [1], ["a"], [[]], [None], {}, {"a": 1}, {"": None}, [1, "a", None], [0] * 1000,
)  # fmt: skip
FIELDS = (
    "", " ", "NaN", "nan", "inf", "-inf", "-1", "0", "1", "2", "1e308", "1e-400", "9" * 30, "1.5", "True", "None",
    "[UNK]", "[PAD]", "ENSG00000000001", '"', "'", "#", "\\", "\x00", "\ufeff", "\u00e9\u4e2d", "a" * 3000, "=", "1,0",
    "|", "\r", "\x1f\x8b",
)  # fmt: skip
_LINES = ("field", "field", "field", "drop", "repeat", "swap", "cut", "longer", "columns", "reverse")


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytearray:
    """Flip bits, cut, remove, repeat, overwrite or insert."""
    kind = draw(st.sampled_from(("flip", "flip", "flip", "cut", "remove", "repeat", "overwrite", "insert", "empty")))
    size = len(content)
    if kind == "empty" or not size:
        return bytearray()
    if kind == "flip":
        changed = bytearray(content)
        for _ in range(draw(st.integers(1, 4))):
            changed[draw(st.integers(0, size - 1))] ^= 1 << draw(st.integers(0, 7))
        return changed
    first = draw(st.integers(0, size - 1))
    if kind == "cut":
        return bytearray(content[:first])
    last = min(size, first + draw(st.integers(1, 64)))
    part = content[first:last]
    new = {
        "remove": b"",
        "repeat": part * draw(st.integers(2, 4)),
        "overwrite": draw(st.sampled_from((b"\x00", b"\xff", b"\x80", b" "))) * len(part),
        "insert": draw(st.binary(min_size=1, max_size=16)) + part,
    }[kind]
    return bytearray(content[:first]) + new + content[last:]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a tree: what holds it, and its key there."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


@st.composite
def damaged_tree(draw: st.DrawFn, tree: Any) -> Any:
    """Change up to three places of a tree: another value or none, another key, one more, what is elsewhere."""
    changed = {"": copy.deepcopy(tree)}
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(places(changed))))
        kind = draw(st.sampled_from(("value", "value", "value", "delete", "add", "rename", "move")))
        if kind == "value" or holder is changed:
            holder[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif kind == "move":
            other, its_key = draw(st.sampled_from(list(places(changed))))
            holder[key] = copy.deepcopy(other[its_key])
        elif kind == "delete":
            del holder[key]
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(draw(st.sampled_from((*VALUES, holder[key])))))
        else:
            name = draw(st.sampled_from(("", "further", f"{key}_", "a" * 300, "__array__", "__frame__")))
            holder[name] = holder.pop(key) if kind == "rename" else copy.deepcopy(draw(st.sampled_from(VALUES)))
    return changed[""]


@st.composite
def damaged_json(draw: st.DrawFn, content: bytes) -> bytes:
    """Mostly JSON that says something else; sometimes no JSON."""
    if draw(st.integers(0, 9)) == 0:
        return draw(damaged_bytes(content))
    return json.dumps(draw(damaged_tree(json.loads(content)))).encode()


@st.composite
def damaged_lines(draw: st.DrawFn, content: bytes) -> bytes:
    """Shuffle, drop or repeat lines, change or swap fields; sometimes bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(damaged_bytes(content))
    rows = [line.split("\t") for line in content.decode().split("\n")]
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.integers(0, len(rows) - 1))
        other = draw(st.integers(0, len(rows) - 1))
        column = draw(st.integers(0, len(rows[row]) - 1)) if rows[row] else 0
        kind = draw(
            st.sampled_from(
                ("field", "field", "field", "drop", "repeat", "swap", "cut", "longer", "columns", "reverse")
            )
        )
        if kind == "field" and rows[row]:
            rows[row][column] = draw(st.sampled_from(FIELDS))
        elif kind == "drop" and len(rows) > 1:
            del rows[row]
        elif kind == "repeat":
            rows.insert(other, list(rows[row]))
        elif kind == "swap":
            rows[row], rows[other] = rows[other], rows[row]
        elif kind == "cut":
            del rows[row][column:]
        elif kind == "longer":
            rows[row] += [draw(st.sampled_from(FIELDS))] * draw(st.integers(1, 3))
        elif kind == "columns":
            for fields in rows:
                del fields[column : column + 1]
        else:
            rows.reverse()
    separator = draw(st.sampled_from(("\t",) * 8 + (",", " ")))
    return draw(st.sampled_from(("\n",) * 6 + ("\r\n", "\r"))).join(separator.join(fields) for fields in rows).encode()


@st.composite
def damaged_safetensors(draw: st.DrawFn, content: bytes) -> bytes:
    """Change header or body; the length of the header is right, mostly."""
    size = int.from_bytes(content[:8], "little")
    header, body = content[8 : 8 + size], content[8 + size :]
    kind = draw(st.sampled_from(("header", "header", "body", "bytes")))
    if kind == "bytes":
        return draw(damaged_bytes(content))
    if kind == "body":
        return content[: 8 + size] + draw(damaged_bytes(body))
    header = draw(damaged_json(header))
    return len(header).to_bytes(8, "little") + header + body


def gunzipped(content: bytes) -> Any:
    """Damage what is in a gzip file, or the file."""
    inner = damaged_lines(gzip.decompress(content)).map(lambda text: gzip.compress(text, 1))
    return damaged_bytes(content) | inner
