"""Write pictures to files."""

from pathlib import Path
from typing import cast

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genemamba_sc._checks import whole_number
from genemamba_sc._files import replacing_file


def save_figure(picture: Figure | Axes, path: str | Path, *, dpi: int = 150) -> None:
    """Write a figure to a file, whole or not at all, and close it.

    Parameters
    ----------
    picture
        A figure, or axes that stand in one.
    path
        File; its ending decides the format (png, pdf, svg).
    dpi
        Dots per inch, where the format has any.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to.
    TypeError
        If the picture is neither a figure nor axes, or ``dpi`` no whole number.
    ValueError
        If the format is not known, or ``dpi`` is below 1.
    """
    if not isinstance(picture, Figure | Axes):
        raise TypeError(
            f"A figure is written, or the one of axes. Got {type(picture).__name__}. Pass what a function of gm.pl "
            "returned; of several axes, the figure of one: axes.flat[0].figure."
        )
    dpi = whole_number("dpi", dpi, 1)
    figure = cast(Figure, picture.figure)
    try:
        with replacing_file(path) as temporary:
            figure.savefig(temporary, dpi=dpi, bbox_inches="tight")
    finally:
        plt.close(figure)
