"""Register the cells of a model: its genes, its types, its batches, and which cells trained it."""
