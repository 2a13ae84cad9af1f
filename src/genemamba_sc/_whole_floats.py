"""Write names of types and batches as text, whatever numbers they were."""

import numpy as np


def as_text(name: object) -> str:
    """Write a name as text; pandas makes 1.0 of 1 where other cells of a column have no value.

    Parameters
    ----------
    name
        Text or a number; a whole number that is a float is written as an integer.
    """
    return str(int(name)) if isinstance(name, float | np.floating) and float(name).is_integer() else str(name)
