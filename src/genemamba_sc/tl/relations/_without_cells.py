"""Refuse questions about cells where there are none."""

# What min_cells is unless it is named.
MIN_CELLS = 10


def refuse_cell_arguments(**of_cells: object) -> None:
    """Refuse arguments that are about cells, where the gene table is asked.

    Parameters
    ----------
    **of_cells
        Arguments; ``None`` is one that was not passed.

    Raises
    ------
    ValueError
        If one was passed.
    """
    if useless := [name for name, value in of_cells.items() if value is not None]:
        raise ValueError(
            f"The gene table needs no cells, and {useless[0]}={of_cells[useless[0]]!r} is about cells. "
            "Pass adata, e.g. adata=model.adata, for vectors in cells, or leave it out."
        )


def require_static(method: object, min_cells: object, **of_cells: object) -> None:
    """Refuse a method and arguments that read cells.

    Parameters
    ----------
    method
        What was asked for; ``None`` is taken for ``"static"``.
    min_cells
        Number of cells that must express a gene.
    **of_cells
        Other arguments; ``None`` is one that was not passed.

    Raises
    ------
    ValueError
        If something else than the gene table is asked for.
    """
    if method not in (None, "static"):
        raise ValueError(
            f"Without cells genes are compared by method='static', the gene table. Got {method!r}. "
            "Pass adata, e.g. adata=model.adata, for a method that reads cells."
        )
    refuse_cell_arguments(min_cells=None if min_cells == MIN_CELLS else min_cells, **of_cells)
