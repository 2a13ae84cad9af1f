"""Pictures of what models and reports hold; the only room that knows matplotlib."""
