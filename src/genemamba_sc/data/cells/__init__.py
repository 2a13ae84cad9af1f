"""Open files of cells, and tell what their values are."""
