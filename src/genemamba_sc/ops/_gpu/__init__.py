"""Compute what a Mamba-2 mixer does between its projections with Triton kernels, on a GPU."""
