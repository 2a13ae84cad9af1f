"""Results as JSON lines: one row per (set, split, held_out, seed, method)."""

from typing import Any

from genemamba_sc.benchmark import Row, append_row, read_rows

__all__ = ["KEY", "Row", "append_row", "key_of", "read_rows"]

KEY = ("set", "split", "held_out", "seed", "method")


def key_of(row: Row) -> tuple[Any, ...]:
    """What makes a row unique."""
    return tuple(row[name] for name in KEY)
