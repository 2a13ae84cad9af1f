"""Say which genes stand behind the score of a type, or behind an embedding."""
