"""Predict the ranks of genes: reconstruction, and what perturbing one gene does to the ranks of others."""
