"""Know genes: names, vocabularies, medians, gene sets."""
