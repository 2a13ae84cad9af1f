"""How the package packs cells when it embeds them; tests/benchmarks compares these numbers with its own."""

BLOCK_CELLS, TOKEN_BUDGET, MOST_PADDING = 4096, 16_384, 0.03
