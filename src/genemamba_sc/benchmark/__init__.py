"""Comparisons with baselines on cells that no method has seen."""
