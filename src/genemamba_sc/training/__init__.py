"""What trainings share: optimiser and callbacks, the start of the gene table, convex fits of cell types. No scvi."""
