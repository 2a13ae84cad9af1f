"""Write arrays and data frames as JSON."""

from typing import Any

import numpy as np
import pandas as pd

from genemamba_sc._json import quoted


def encode(value: Any) -> Any:
    """Turn a value into JSON with arrays and data frames marked, so that a registry comes back as it was.

    Raises
    ------
    TypeError
        If a value has no counterpart in JSON.
    """
    if isinstance(value, pd.DataFrame):
        return {"__frame__": value.to_dict(orient="list"), "index": value.index.tolist(), "name": value.index.name}
    if isinstance(value, np.ndarray):
        return {"__array__": value.tolist(), "text": value.dtype.kind not in "biuf"}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"A value of type {type(value).__name__} cannot be saved with the model. Got {quoted(value)}.")


def decode(value: Any) -> Any:
    """Invert :func:`encode`."""
    if isinstance(value, dict):
        if "__array__" in value:
            return np.asarray(value["__array__"], dtype=object if value["text"] else None)
        if "__frame__" in value:
            index = pd.Index(value["index"], name=value["name"])
            return pd.DataFrame(value["__frame__"], index=index)
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return value
