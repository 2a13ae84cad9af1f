"""Turn the values of cells into rank tokens and batches of them."""
