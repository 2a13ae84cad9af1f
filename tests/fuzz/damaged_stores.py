"""How Arrow shards and HDF5 files are damaged: columns, types, offsets, attributes, and plain bytes."""

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from mutations import damaged_bytes

_TYPES = (
    pa.int8(), pa.int32(), pa.int64(), pa.uint8(), pa.float32(), pa.float64(), pa.string(), pa.bool_(),
    pa.list_(pa.int64()), pa.list_(pa.float32()), pa.list_(pa.string()), pa.large_list(pa.uint16()),
)  # fmt: skip
_CELLS: tuple[Any, ...] = ([], [2], [2, 3, 4], [0], [1], [-1], [10**6], [5] * 3000, [None], None)
_KINDS = ("f8", "i1", "u2", "f2", ">f4", "i8", "S8", "c8")
NUMBERS = (-1, 0, 1, 2, 7, 1000, 2**31 - 1, -(2**31), np.nan, np.inf, -np.inf, 1e30, -0.5, 0.5)
_ATTRIBUTES = (
    "",
    "csr_matrix",
    "csc_matrix",
    "array",
    "dataframe",
    "categorical",
    "dict",
    "string-array",
    1,
    -1,
    [1],
)


@st.composite
def damaged_arrow(draw: st.DrawFn, content: bytes) -> bytes:
    """Rewrite a stream with other columns, types or rows; half of the time change its bytes."""
    if draw(st.booleans()):
        return draw(damaged_bytes(content))
    table = pa.ipc.open_stream(content).read_all()
    for _ in range(draw(st.integers(1, 2))):
        table = draw(changed_table(table))
    sink, kind = io.BytesIO(), draw(st.sampled_from((pa.ipc.new_stream, pa.ipc.new_file)))
    with kind(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=draw(st.sampled_from((1, 7, 1000))))
    return sink.getvalue()


@st.composite
def changed_table(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    """Change one thing of a table."""
    if not table.num_columns or not table.num_rows:
        return table
    number = draw(st.integers(0, table.num_columns - 1))
    name, column = table.schema.names[number], table.column(number)
    kind = draw(st.sampled_from(("drop", "rename", "type", "null", "cell", "shorter", "repeat", "shuffle", "swap")))
    if kind == "drop":
        return table.remove_column(number)
    if kind == "rename":
        return table.rename_columns([*table.schema.names[:number], "other", *table.schema.names[number + 1 :]])
    if kind == "shorter":
        return table.slice(draw(st.integers(0, table.num_rows)))
    if kind == "repeat":
        return pa.concat_tables([table, table])
    if kind == "shuffle":
        return table.take(draw(st.permutations(range(table.num_rows))))
    if kind == "swap":
        return table.set_column(number, name, table.column(draw(st.integers(0, table.num_columns - 1))))
    values = column.to_pylist()
    try:
        if kind == "type":
            return table.set_column(number, name, pa.array(values, draw(st.sampled_from(_TYPES))))
        is_list = pa.types.is_list(column.type)
        new = None if kind == "null" else draw(st.sampled_from(_CELLS if is_list else (*NUMBERS, None)))
        values[draw(st.integers(0, len(values) - 1))] = new
        return table.set_column(number, name, pa.array(values, column.type))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError):  # these values have no such type
        return table.remove_column(number)


@st.composite
def damaged_hdf5(draw: st.DrawFn, content: bytes, folder: Path) -> bytes:
    """Change attributes, datasets and groups, or cut the file."""
    if draw(st.integers(0, 9)) == 0:
        return content[: draw(st.integers(0, len(content)))]
    path = folder / "scratch.h5"
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        for _ in range(draw(st.integers(1, 2))):
            names: list[str] = []
            file.visit(names.append)
            if names:
                _change(draw, file, draw(st.sampled_from(names)))
    changed = path.read_bytes()
    path.unlink()
    return changed


def _change(draw: st.DrawFn, file: h5py.File, name: str) -> None:
    node = file[name]
    kind = draw(st.sampled_from(("values", "values", "values", "attribute", "attribute", "delete", "shape", "kind")))
    if kind == "attribute" and len(node.attrs):
        key = draw(st.sampled_from(sorted(node.attrs)))
        del node.attrs[key]
        if draw(st.booleans()):
            node.attrs[key] = draw(st.sampled_from(_ATTRIBUTES))
    elif kind == "values" and isinstance(node, h5py.Dataset) and node.size and node.dtype.kind in "iuf":
        values = np.array(node).astype(np.float64).reshape(-1)
        values[draw(st.integers(0, values.size - 1))] = draw(st.sampled_from(NUMBERS))
        whole = node.dtype.kind in "iu"
        limits = np.iinfo(node.dtype) if whole else None
        values = np.clip(np.nan_to_num(values), limits.min, limits.max) if limits else values
        node[...] = values.reshape(node.shape).astype(node.dtype)
    elif kind == "shape" and isinstance(node, h5py.Dataset) and node.ndim:
        values = np.array(node)[: draw(st.integers(0, node.shape[0]))]
        _replace(file, name, values)
    elif kind == "kind" and isinstance(node, h5py.Dataset) and node.dtype.kind in "iuf":
        _replace(file, name, np.array(node).astype(draw(st.sampled_from(_KINDS))))
    else:
        del file[name]


def _replace(file: h5py.File, name: str, values: np.ndarray) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    file[name] = values
    file[name].attrs.update(attributes)
