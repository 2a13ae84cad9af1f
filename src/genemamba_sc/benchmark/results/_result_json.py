"""Write reports as JSON, and read them again with every field checked."""

import json
from dataclasses import fields
from typing import Any

from genemamba_sc._json import Fields
from genemamba_sc.benchmark.methods._methods import method_of
from genemamba_sc.benchmark.runs._rows import BenchmarkRow, NotRun

FORMAT = "genemamba benchmark 1"


def report_as_text(values: dict[str, Any]) -> str:
    """Write the fields of a report.

    Parameters
    ----------
    values
        Fields, as ``dataclasses.asdict`` gives them.
    """
    return json.dumps({"format": FORMAT} | values, indent=1, ensure_ascii=False) + "\n"


def report_from_fields(read: Fields) -> dict[str, Any]:
    """Read the fields of a report.

    Parameters
    ----------
    read
        The object of the file.

    Raises
    ------
    ValueError
        If a field is missing, or of another kind.
    """
    read.made("format", _known_format)
    counts = ("n_cells", "n_genes", "n_types", "n_batches", "n_unlabelled")
    return {
        "labels_key": read.text("labels_key"),
        "batch_key": read.optional_text("batch_key"),
        "seeds": read.made("seeds", lambda values: tuple(_whole(value) for value in values)),
        **{name: read.whole(name, 0) for name in counts},
        "values": read.text("values"),
        "digest": read.text("digest"),
        "rows": tuple(row_from_fields(row) for row in read.objects("rows")),
        "not_run": tuple(_not_run(one) for one in read.objects("not_run")),
        "versions": read.texts("versions"),
    }


def row_from_fields(read: Fields) -> BenchmarkRow:
    """Read one row.

    Parameters
    ----------
    read
        The object of the row.

    Raises
    ------
    ValueError
        If a field is missing or unknown, or of another kind.
    """
    _require_all(read, BenchmarkRow)
    read.made("method", lambda name: method_of(read.text("task"), name))
    return BenchmarkRow(
        task=read.text("task"),
        method=read.text("method"),
        split=read.text("split"),
        held_out=read.text("held_out"),
        predictions=read.text("predictions"),
        key=read.text("key"),
        seed=read.whole("seed", 0),
        n_train=read.whole("n_train", 0),
        n_test=read.whole("n_test", 0),
        n_unknown=read.whole("n_unknown", 0),
        scores=read.made("scores", lambda values: {str(name): _share(value) for name, value in values.items()}),
        test_share=read.made("test_share", _inner_share),
        seconds=read.made("seconds", _number),
        settings=read.object("settings").values,
        details=read.object("details").values,
        versions=read.texts("versions"),
    )


def _not_run(read: Fields) -> NotRun:
    _require_all(read, NotRun)
    texts = {name: read.text(name) for name in ("task", "method", "reason", "split", "held_out")}
    return NotRun(**texts, seed=read.whole("seed", -1))


def _require_all(read: Fields, kind: type) -> None:
    names = {field.name for field in fields(kind)}
    read.require(*names)
    read.only(names)


def _known_format(value: Any) -> str:
    if value != FORMAT:
        raise ValueError(f"the format must be {FORMAT!r}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _share(value: Any) -> float:
    number = _number(value)
    if not -1.0 <= number <= 1.0 + 1e-6:  # a silhouette can be below 0
        raise ValueError(f"{value!r} is no score")
    return number


def _inner_share(value: Any) -> float:
    number = _number(value)
    if not 0.0 <= number < 1.0:
        raise ValueError(f"{value!r} is no share of the cells")
    return number


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value
