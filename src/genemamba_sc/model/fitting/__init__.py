"""Train a model: arguments, split, start, plan, and the fits that follow."""
