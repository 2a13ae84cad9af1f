"""How the package packs cells when it embeds them; tests/benchmarks compares these numbers with its own."""

BLOCK_CELLS, TOKEN_BUDGET, MOST_PADDING = 4096, 16_384, 0.03
# Where each thread embeds cells of its own.
SHARED_BLOCK_CELLS, SHARED_TOKEN_BUDGET = 1024, 2**18
