"""Answer queries about cell types: predictions, votes, calibrations."""
