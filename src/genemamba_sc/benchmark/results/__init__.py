"""Hold what a benchmark found, and say it in tables and sentences."""
