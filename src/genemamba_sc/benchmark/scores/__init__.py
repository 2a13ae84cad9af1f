"""Score predicted types and embeddings."""
