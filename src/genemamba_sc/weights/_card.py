"""Write the model card: what readers want to know before they use the weights, in the style of the Hugging Face Hub."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genemamba_sc.data import GeneVocabulary
from genemamba_sc.nn import EncoderConfig

_TAGS = ["genemamba", "mamba", "single-cell", "scrna-seq"]
_USE = (
    "Embedding of cells whose genes are in the vocabulary, and a start for training on labelled cells. "
    "Not for clinical decisions."
)
_LIMITS = (
    "Cells of other species, tissues or technologies than those of the training data were not looked at; "
    "check on cells of your own before relying on it."
)
# Entries of the manifest that have a section of their own.
_SECTIONS = ("title", "license", "training_data", "intended_use", "limits")


def model_card(
    config: EncoderConfig,
    n_parameters: int,
    max_len: int,
    vocabulary: GeneVocabulary,
    manifest: Mapping[str, Any],
    evaluation: Sequence[Mapping[str, Any]],
) -> str:
    """Write the card of pretrained weights.

    Parameters
    ----------
    config, n_parameters, max_len, vocabulary
        What the weights are.
    manifest
        How they were made. ``title``, ``license`` (an identifier of the hub, such as ``"cc-by-4.0"``),
        ``training_data`` (text, or rows of a table), ``intended_use`` and ``limits`` (text, or a list) have sections of
        their own; other numbers and short texts are listed.
    evaluation
        Rows of the table of results.
    """
    licence = manifest.get("license")
    front = {
        "license": licence or "unknown",
        "library_name": "genemamba_sc",
        "pipeline_tag": "feature-extraction",
        "tags": _TAGS,
    }
    # JSON is YAML: quoted text cannot break the header.
    header = "\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items())
    shape = {
        "parameters": f"{n_parameters:,}",
        "layers": config.n_layer,
        "width (d_model)": config.d_model,
        "directions combined by": config.combine,
        "genes": f"{vocabulary.n_genes:,} ({vocabulary.species})",
        "genes read per cell": f"{max_len:,}",
        "vocabulary fingerprint": vocabulary.fingerprint[:16],
    }
    facts = {
        key: value
        for key, value in manifest.items()
        if key not in _SECTIONS and isinstance(value, str | int | float | bool) and len(str(value)) <= 200
    }
    results = _table(evaluation) if evaluation else "No evaluation was recorded."
    parts = [
        f"---\n{header}\n---\n\n# {_line(manifest.get('title') or 'GeneMamba encoder for single-cell RNA data')}",
        "A bidirectional Mamba-2 encoder that reads a cell as the list of its genes, ranked by expression. "
        "Weights for the Python package `genemamba-sc`.",
        _pairs(shape),
        f"## Use\n\n```python\n{_CODE}\n```",
        f"## Licence\n\n{licence or 'None was stated: ask whoever published these weights before you use them.'}",
        f"## Training data\n\n{_prose(manifest.get('training_data'), 'Not stated.')}",
        f"## Evaluation\n\n{results}",
        f"## Intended use\n\n{_prose(manifest.get('intended_use'), _USE)}",
        f"## Limits\n\n{_prose(manifest.get('limits'), _LIMITS)}",
    ]
    if facts:
        parts.append(f"## How it was made\n\n{_pairs(facts)}\n\nEverything recorded is in `manifest.json`.")
    return "\n\n".join(parts) + "\n"


_CODE = """import genemamba_sc as gm

model = gm.GeneMambaModel.from_pretrained("path/to/this/folder")
model.get_latent_representation(adata)  # adata.X: counts"""


def _prose(value: Any, default: str) -> str:
    if not value:
        return default
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return _pairs(value)
    items = list(value) if isinstance(value, Iterable) else [value]
    if all(isinstance(item, Mapping) for item in items):
        return _table(items)
    return "\n".join(f"- {_line(item)}" for item in items)


def _pairs(pairs: Mapping[str, Any]) -> str:
    rows = "\n".join(f"| {_line(key)} | {_line(value)} |" for key, value in pairs.items())
    return f"| | |\n|---|---|\n{rows}"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a table; its columns have the order in which the rows bring them."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *([_cell(row.get(key)) for key in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(map(_line, line))} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _line(value: Any) -> str:
    """Write text on one line that does not end a table cell."""
    return " ".join(str(value).split()).replace("|", "\\|")
