"""Change genes of cells, and see what the model makes of these cells."""
