"""ask a model about genes: neighbours, networks, perturbation, attribution"""  # noqa: D400

# The question that is meant where none is named: `genemamba genes mini CD3E`.
DEFAULT = "nearest"
