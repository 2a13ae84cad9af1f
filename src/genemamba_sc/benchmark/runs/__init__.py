"""Run a benchmark: what is asked for, on which cells, job by job."""
