"""Declare what weights were trained on, in the form of VCBench (vcbench-contamination-v1)."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genemamba_sc._files import replacing_file
from genemamba_sc.model._model import GeneMambaModel
from genemamba_sc.weights._read import Pretrained, read_pretrained

SCHEMA_VERSION = "vcbench-contamination-v1"
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class ContaminationManifest:
    """Declare what a model was pretrained on, as ``ContaminationManifest`` of VCBench 1.0 has it.

    Parameters
    ----------
    model
        Name of the model.
    pretraining_corpus
        Name of the corpus.
    model_version
        Version of the weights.
    pretraining_corpus_md5
        MD5 of the list of the cells' barcodes, 32 hexadecimal digits; ``None`` where no such list was kept.
    included_datasets, excluded_datasets
        Sets that the corpus has, and sets that were left out on purpose.
    excluded_tissue_types
        Kinds of cells that were left out, such as ``"cell culture"``.
    notes
        What else is to be known.

    Raises
    ------
    ValueError
        If a name is missing, or the MD5 is none.
    """

    model: str
    pretraining_corpus: str
    model_version: str | None = None
    pretraining_corpus_md5: str | None = None
    included_datasets: tuple[str, ...] = ()
    excluded_datasets: tuple[str, ...] = ()
    excluded_tissue_types: tuple[str, ...] = ()
    notes: str | None = None

    def __post_init__(self) -> None:
        for name in ("model", "pretraining_corpus"):
            if not str(getattr(self, name)).strip():
                raise ValueError(f"{name} must be named. Got {getattr(self, name)!r}. Pass its name.")
        md5 = self.pretraining_corpus_md5
        if md5 is not None and not _MD5.fullmatch(md5):
            raise ValueError(
                f"pretraining_corpus_md5 must be 32 hexadecimal digits in lower case. Got {md5!r}. "
                "Pass hashlib.md5(text).hexdigest(), or leave it out."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields with the version of the schema, as values that JSON holds."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "model_version": self.model_version,
            "pretraining_corpus": self.pretraining_corpus,
            "pretraining_corpus_md5": self.pretraining_corpus_md5,
            "included_datasets": list(self.included_datasets),
            "excluded_datasets": list(self.excluded_datasets),
            "excluded_tissue_types": list(self.excluded_tissue_types),
            "notes": self.notes,
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the manifest as JSON, and write it where a path is given.

        Parameters
        ----------
        path
            File to write; ``None`` writes none.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
        if path is not None:
            with replacing_file(Path(path)) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return text


def contamination_manifest(
    model: GeneMambaModel | Pretrained | str | os.PathLike[str],
    *,
    name: str | None = None,
    pretraining_corpus: str | None = None,
    pretraining_corpus_md5: str | None = None,
    excluded_datasets: Sequence[str] = (),
    excluded_tissue_types: Sequence[str] = (),
    notes: str | None = None,
    revision: str | None = None,
) -> ContaminationManifest:
    """Declare what pretrained weights were trained on, from the manifest that lies beside them.

    Parameters
    ----------
    model
        Weights, what :func:`genemamba_sc.read_pretrained` takes, or a model that started from such.
    name
        Name of the model; ``None`` takes the title of the weights.
    pretraining_corpus
        Name of the corpus; ``None`` takes what the weights say about it.
    pretraining_corpus_md5
        MD5 of the list of barcodes of the corpus, where you have that list; the weights keep hashes of tokens instead.
    excluded_datasets, excluded_tissue_types
        What was left out on purpose; the weights do not say it.
    notes
        Further remarks; what the weights say comes first.
    revision
        Full commit hash, for weights on the hub.

    Returns
    -------
    The manifest; ``to_json`` writes it.

    Raises
    ------
    TypeError
        If ``model`` is none of these, or a single text is passed where several are asked for.
    ValueError
        If nothing is known of the training data and ``pretraining_corpus`` is not given, or the model did not start
        from weights.
    FileNotFoundError
        If there are no such weights.
    """
    lists = {"excluded_datasets": excluded_datasets, "excluded_tissue_types": excluded_tissue_types}
    for argument, value in lists.items():
        if isinstance(value, str):
            raise TypeError(f"{argument} must be a list of names. Got the text {value!r}. Pass [{value!r}].")
    about = _about(model, revision)
    sets = _sets(about)
    corpus = pretraining_corpus or _corpus_name(about.manifest, sets)
    if corpus is None:
        raise ValueError(
            f"A manifest declares what weights were trained on. Got {about.origin}, which does not say it. "
            "Pass pretraining_corpus= with the name of the corpus."
        )
    remarks = [*_remarks(about), *([notes] if notes else [])]
    version = about.manifest.get("package_version")
    return ContaminationManifest(
        model=name or str(about.manifest.get("title") or about.origin),
        pretraining_corpus=corpus,
        model_version=f"{about.origin}, written by genemamba_sc {version}" if version else about.origin,
        pretraining_corpus_md5=pretraining_corpus_md5,
        included_datasets=tuple(sets),
        excluded_datasets=tuple(map(str, excluded_datasets)),
        excluded_tissue_types=tuple(map(str, excluded_tissue_types)),
        notes=" ".join(remarks) or None,
    )


@dataclass(frozen=True, eq=False)
class _About:
    """Hold what is known of weights."""

    origin: str
    manifest: Mapping[str, Any]
    sources: tuple[str, ...]
    n_hashes: int
    trained_further: bool


def _about(model: object, revision: str | None) -> _About:
    if isinstance(model, GeneMambaModel):
        base, cells = model.pretrained_, model.pretrained_cells_
        if base is None:
            raise ValueError(
                "A manifest is about pretrained weights. Got a model that started from none. "
                "Give one made by from_pretrained, or weights that save_pretrained wrote."
            )
        origin, manifest, further = base["origin"], base["manifest"], model.origin.n_epochs > 0
    else:
        if isinstance(model, str | os.PathLike):
            model = read_pretrained(model, revision=revision)
        if not isinstance(model, Pretrained):
            raise TypeError(
                f"model must be weights, a folder or a name of such, or a model that started from them. Got "
                f"{type(model).__name__}. Pass one of these."
            )
        origin, manifest, cells, further = model.origin, model.manifest, model.cells, False
    return _About(origin, manifest, () if cells is None else cells.sources, 0 if cells is None else len(cells), further)


def _sets(about: _About) -> list[str]:
    """Name the sets that the weights say they were trained on, those of their base included."""
    manifest, names = about.manifest, list(about.sources)
    while isinstance(manifest, Mapping):
        rows = manifest.get("training_data")
        rows = rows if isinstance(rows, list) else []
        names += [str(row["set"]) for row in rows if isinstance(row, Mapping) and "set" in row]
        corpus = manifest.get("corpus")
        sources = corpus.get("sources", []) if isinstance(corpus, Mapping) else []
        names += [str(source["name"]) for source in sources if isinstance(source, Mapping) and "name" in source]
        manifest = manifest.get("base_manifest")  # type: ignore[assignment]
    # One set is called pbmc3k here and pbmc3k.h5ad there.
    return list(dict.fromkeys(name.removesuffix(".h5ad") for name in names))


def _corpus_name(manifest: Mapping[str, Any], sets: list[str]) -> str | None:
    corpus = manifest.get("corpus")
    text = manifest.get("training_data")
    if isinstance(corpus, Mapping) and "n_cells" in corpus:
        mark = f", fingerprint {corpus['fingerprint'][:16]}" if isinstance(corpus.get("fingerprint"), str) else ""
        return f"{_count(sets)}, {corpus['n_cells']:,} cells{mark}"
    if isinstance(text, str) and text.strip():
        return text
    return _count(sets) if sets else None


def _count(sets: list[str]) -> str:
    return f"{len(sets)} set{'' if len(sets) == 1 else 's'}"


def _remarks(about: _About) -> list[str]:
    remarks = []
    if about.n_hashes:
        remarks.append(
            f"Hashes of the rank tokens of {about.n_hashes:,} training cells lie beside the weights: "
            "genemamba_sc.check_contamination(adata, weights) tells which cells of a set are among them."
        )
    if "fine_tuned_from" in about.manifest:
        remarks.append(
            f"Trained further from {about.manifest['fine_tuned_from']} on "
            f"{about.manifest.get('n_training_cells', 'an unknown number of')} cells that are not listed."
        )
    if about.trained_further:
        remarks.append("The model was trained on other cells since, which are not listed.")
    return remarks
