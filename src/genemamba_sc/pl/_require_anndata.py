"""Refuse cells that are no AnnData before anything is drawn."""

from anndata import AnnData


def require_anndata(adata: object) -> None:
    """Refuse what is no AnnData.

    Parameters
    ----------
    adata
        What was passed as the cells.

    Raises
    ------
    TypeError
        If it is none.
    """
    if not isinstance(adata, AnnData):
        raise TypeError(f"adata must be an AnnData. Got {type(adata).__name__}. Pass the cells that are to be drawn.")
