"""Keep models in folders, and make models from pretrained weights."""
