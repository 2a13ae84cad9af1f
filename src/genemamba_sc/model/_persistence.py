"""Saving a model and bringing it back, with or without an AnnData."""

import copy
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

import anndata
import scvi
import torch
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.model._utils import parse_device_args
from scvi.model.base import BaseModelClass

from genemamba_sc._constants import VOCABULARY_KEY
from genemamba_sc._version import __version__
from genemamba_sc._warn import warn
from genemamba_sc.nn import EncoderConfig
from genemamba_sc.weights._saved_model import ADATA_FILE, SavedModel, read_model, write_model

Model = TypeVar("Model", bound=BaseModelClass)

# What training leaves on the model and scvi-tools keeps under these names.
_ATTRIBUTES = ("is_trained_", "train_indices_", "validation_indices_", "test_indices_", "history_", "pretrained_")


def save_model(model: BaseModelClass, folder: str | Path, overwrite: bool, save_anndata: bool) -> None:
    """Write ``model`` to ``folder``; see :meth:`genemamba_sc.GeneMambaModel.save`."""
    if save_anndata and model.adata is None:
        raise ValueError("save_anndata=True, but this model holds no AnnData. Pass save_anndata=False.")
    registry = copy.deepcopy(model.registry_)
    registry["field_registries"][REGISTRY_KEYS.X_KEY]["state_registry"].pop(VOCABULARY_KEY)
    meta = {
        "versions": {
            "genemamba_sc": __version__,
            "scvi-tools": scvi.__version__,
            "torch": torch.__version__,
            "anndata": version("anndata"),
        },
        "class": type(model).__name__,
        "init": {
            "encoder_config": model.module.encoder_config.to_dict(),
            "max_len": model.max_len_,
            "gene_init": model.gene_init_,
        },
        "registry": registry,
        "attributes": {name: getattr(model, name) for name in _ATTRIBUTES},
    }
    saved = SavedModel(
        meta=meta,
        tensors=model.module.state_dict(),
        vocabulary=model.vocabulary,
        cells=model.pretrained_cells_,
        aliases=model.gene_aliases,
    )
    write_model(folder, saved, overwrite=overwrite, adata=model.adata if save_anndata else None)


def load_model(
    cls: type[Model],
    folder: str | Path,
    adata: AnnData | Literal[False] | None,
    accelerator: str,
    device: int | str,
) -> Model:
    """Build a model from ``folder``; see :meth:`genemamba_sc.GeneMambaModel.load`."""
    if not (adata is None or adata is False or isinstance(adata, AnnData)):
        raise TypeError(
            f"adata must be an AnnData, None or False. Got {type(adata).__name__}. "
            "Read an h5ad file with anndata.read_h5ad, or pass False to load the model alone."
        )
    _, _, target = parse_device_args(
        accelerator=accelerator, devices=device, return_device="torch", validate_single_device=True
    )
    saved = read_model(folder)
    if saved.meta.get("class") != cls.__name__:
        raise ValueError(
            f"{folder} holds a {saved.meta.get('class')}, not a {cls.__name__}. Load it with the class that saved it."
        )
    registry = saved.meta["registry"]
    registry["field_registries"][REGISTRY_KEYS.X_KEY]["state_registry"][VOCABULARY_KEY] = saved.vocabulary.to_dict()
    init = dict(saved.meta["init"])
    model = cls(registry=registry, encoder_config=EncoderConfig.from_dict(init.pop("encoder_config")), **init)
    _load_weights(model, saved, folder)
    for name, value in saved.meta["attributes"].items():
        if name not in _ATTRIBUTES:  # anything else could put itself in the place of a method
            raise ValueError(
                f"{folder} sets the attribute {str(name)[:100]!r}; a model keeps {_ATTRIBUTES}. Save it anew."
            )
        setattr(model, name, value)
    model.pretrained_cells_, model.gene_aliases = saved.cells, saved.aliases
    model.to_device(target)
    model.module.eval()
    if adata is None and (Path(folder) / ADATA_FILE).is_file():
        adata = anndata.read_h5ad(Path(folder) / ADATA_FILE)
    if isinstance(adata, AnnData):
        _attach(model, adata, registry)
    return model


def _load_weights(model: BaseModelClass, saved: SavedModel, folder: str | Path) -> None:
    tensors = dict(saved.tensors)
    if saved.meta["format_version"] == 1 and "cell_type_head.markers" in tensors:
        tensors["cell_type_head.programs"] = torch.zeros_like(tensors["cell_type_head.markers"])
    try:
        model.module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(
            f"The weights in {folder} do not fit the model that its config.json describes: {error} "
            "Keep the files of a model folder together."
        ) from error


def _attach(model: BaseModelClass, adata: AnnData, registry: dict[str, Any]) -> None:
    """Register ``adata`` with the saved registry, with as many of its columns as fit."""
    arguments = dict(registry["setup_args"])
    for argument, key in (("batch_key", REGISTRY_KEYS.BATCH_KEY), ("labels_key", REGISTRY_KEYS.LABELS_KEY)):
        if arguments.get(argument) is not None and not _column_fits(adata, arguments, argument, registry, key):
            arguments[argument] = None
            if argument == "labels_key":
                arguments["unlabeled_category"] = None
    type(model).setup_anndata(adata, source_registry=registry, **arguments)
    model._adata = adata
    model._adata_manager = model._get_most_recent_anndata_manager(adata, required=True)
    model._register_manager_for_instance(model._adata_manager)


def _column_fits(adata: AnnData, arguments: dict[str, Any], argument: str, registry: dict[str, Any], key: str) -> bool:
    column = arguments[argument]
    state = registry["field_registries"][key]["state_registry"]
    known = {str(name) for name in state["categorical_mapping"]}
    if column in adata.obs and {str(name) for name in adata.obs[column].unique()} <= known:
        return True
    reason = "has values the model does not know" if column in adata.obs else "is missing"
    warn(
        f"adata.obs[{column!r}] {reason}, so it is not registered as {argument}. "
        "The model can read these cells, but cannot be trained on them with it.",
    )
    return False
