"""Provide tools: what a model tells about genes and cells; functions of ``(model, adata)``, one file a task."""
