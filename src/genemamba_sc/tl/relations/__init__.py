"""Relate genes to genes: vectors, correlations, neighbours, networks, programs."""
