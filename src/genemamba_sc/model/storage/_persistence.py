"""Save a model and load it again, with or without an AnnData."""

import copy
import inspect
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import anndata
import numpy as np
import pandas as pd
import scvi
import torch
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.model._utils import parse_device_args
from scvi.model.base import BaseModelClass

from genemamba_sc._checks import GeneInit
from genemamba_sc._constants import VOCABULARY_KEY
from genemamba_sc._json import Fields, quoted
from genemamba_sc._version import __version__
from genemamba_sc._warn import warn
from genemamba_sc.data.cells._feature_types import is_control
from genemamba_sc.data.genes._text_files import naming
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.model._origin import Origin
from genemamba_sc.model._queries import cell_types_of
from genemamba_sc.model.registration._attaching import attach
from genemamba_sc.model.registration._batch_names import batch_names
from genemamba_sc.model.storage import _kept_calibration, _kept_cells, _kept_integration
from genemamba_sc.model.storage._kept_arrays import without_prefixes
from genemamba_sc.model.storage._kept_cells import as_rows
from genemamba_sc.nn import EncoderConfig
from genemamba_sc.weights._folder import ADATA_FILE, CONFIG_FILE
from genemamba_sc.weights._saved_model import (
    CALIBRATION_PREFIX,
    INTEGRATION_PREFIX,
    SavedModel,
    read_model,
    write_model,
)
from genemamba_sc.weights._tensors import check_shapes

Model = TypeVar("Model", bound=BaseModelClass)
Attributes = dict[str, Any]

_INDICES = ("train_indices_", "validation_indices_", "test_indices_")
# Attributes that training sets on the model and that scvi-tools keeps under these names.
_ATTRIBUTES = ("is_trained_", *_INDICES, "history_")
_INIT = ("encoder_config", "max_len", "gene_init")
_ORIGIN = ("name", "manifest", "evaluation", "has_gene_head", "table_within_batches")


def save_model(
    model: BaseModelClass, folder: str | Path, overwrite: bool, save_anndata: bool, prefix: str | None = None
) -> None:
    """Write ``model`` to ``folder``; see :meth:`genemamba_sc.GeneMambaModel.save`."""
    if save_anndata and model.adata is None:
        raise ValueError("save_anndata=True, but this model holds no AnnData. Pass save_anndata=False.")
    adata = model.adata if save_anndata else None
    write_model(folder, content_of(model), overwrite=overwrite, adata=adata, prefix=prefix)


def content_of(model: BaseModelClass) -> SavedModel:
    """Extract from a model everything that makes another one that answers alike."""
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
        "origin": {name: getattr(model.origin, name) for name in _ORIGIN},
    }
    meta |= _kept_cells.kept(model)
    tensors = dict(model.module.state_dict())
    if model.integration_ is not None:
        meta["integration"], arrays = _kept_integration.kept(model.integration_)
        tensors |= arrays
    if model.calibration_ is not None:
        meta["calibration"], arrays = _kept_calibration.kept(model.calibration_)
        tensors |= arrays
    return SavedModel(meta, tensors, model.vocabulary, model.pretrained_cells_, model.gene_aliases)


def load_model(
    cls: type[Model],
    folder: str | Path,
    adata: AnnData | Literal[False] | None,
    accelerator: str,
    device: int | str,
    prefix: str | None = None,
) -> Model:
    """Build a model from ``folder``; see :meth:`genemamba_sc.GeneMambaModel.load`."""
    if not (adata is None or adata is False or isinstance(adata, AnnData)):
        raise TypeError(
            f"adata must be an AnnData, None or False. Got {type(adata).__name__}. "
            "Read an h5ad file with anndata.read_h5ad, or pass False to load the model alone."
        )
    target = device_of(accelerator, device)
    saved = read_model(folder, prefix)
    path = Path(folder) / f"{prefix or ''}{CONFIG_FILE}"
    if saved.meta["class"] != cls.__name__:
        raise ValueError(
            f"{folder} holds a {quoted(saved.meta['class'])}, not a {cls.__name__}. Load it with the class that saved "
            "it."
        )
    model = model_of(cls, saved, path)
    _say_if_trained_with_controls(saved)
    kept = path.with_name(f"{prefix or ''}{ADATA_FILE}")
    if adata is None and kept.is_file():
        adata = anndata.read_h5ad(kept)
    if isinstance(adata, AnnData):
        attach(model, adata)
    model.to_device(target)
    return model


def _say_if_trained_with_controls(saved: SavedModel) -> None:
    controls = [name for name in saved.vocabulary.gene_ids if is_control(name)]
    if controls:
        warn(
            f"The genes of this model include {len(controls)} spike-ins, control probes or peaks ({controls[0]}). They "
            "are left out of cells now, so it answers otherwise than the version that trained it. Train it again."
        )


def device_of(accelerator: str, device: int | str) -> torch.device:
    """Return the device that scvi-tools' arguments name."""
    _, _, target = parse_device_args(
        accelerator=accelerator, devices=device, return_device="torch", validate_single_device=True
    )
    return target


def model_of(cls: type[Model], saved: SavedModel, path: Path) -> Model:
    """Build a model without cells, in evaluation mode, on the CPU.

    Parameters
    ----------
    cls
        Class of the model.
    saved
        Content of the model folder.
    path
        Path of the configuration, for messages.

    Raises
    ------
    ValueError
        If the parts do not fit each other, or a field is of another kind than it must be.
    """
    meta = Fields.of(saved.meta, path)
    meta.object("versions")
    init, attributes = _init(meta), _attributes(meta.object("attributes"))
    registry = _registry(cls, meta.object("registry"), saved)
    shapes = {name: tuple(tensor.shape) for name, tensor in _tensors(saved).items()}
    with naming(path.parent):
        check_shapes(shapes, _shapes(init["encoder_config"], registry))
    model = meta.made("registry", lambda _: cls(registry=registry, **init))  # scvi-tools reads further parts of it
    model.module.load_state_dict(_tensors(saved))
    model._origin = _origin(meta, model, attributes)
    config, n_types = init["encoder_config"], len(cell_types_of(registry))
    model.integration_ = _kept_integration.brought_back(meta, saved.tensors, len(batch_names(registry)), config.d_model)
    model.calibration_ = _kept_calibration.brought_back(meta, saved.tensors, n_types, config.vocab_size)
    for name, value in attributes.items():
        setattr(model, name, value)
    _kept_cells.bring_back(model, meta)
    model.pretrained_cells_, model.gene_aliases = saved.cells, saved.aliases
    model.module.eval()
    return model


def _init(meta: Fields) -> dict[str, Any]:
    init = meta.object("init")
    init.only(set(_INIT))
    return {
        "encoder_config": init.made("encoder_config", EncoderConfig.from_dict),
        "max_len": init.whole("max_len", 1),
        "gene_init": init.made("gene_init", _as_gene_init),
    }


def _as_gene_init(value: Any) -> Any:
    if value not in get_args(GeneInit):
        raise ValueError(f"it is one of {get_args(GeneInit)}, not {quoted(value)}")
    return value


def _attributes(fields: Fields) -> Attributes:
    """Read what training left; no other attribute is ever set on a model."""
    fields.only({*_ATTRIBUTES, "pretrained_"})  # the latter until version 2
    return {
        "is_trained_": fields.flag("is_trained_"),
        **{name: fields.made(name, as_rows) for name in _INDICES},
        "history_": fields.made("history_", _as_history),
    }


def _as_history(value: Any) -> dict[str, pd.DataFrame] | None:
    if value is not None and not (
        isinstance(value, dict) and all(isinstance(curve, pd.DataFrame) for curve in value.values())
    ):
        raise ValueError(f"a history is a table for each curve, not {quoted(value)}")
    return value


def _registry(cls: type[Model], fields: Fields, saved: SavedModel) -> dict[str, Any]:
    """Check the parts of a registry that are read, and put the genes back into it."""
    fields.require("setup_args", "field_registries")
    known = set(inspect.signature(cls.setup_anndata).parameters)
    fields.object("setup_args").only(known)
    genes = fields.object("field_registries").object(REGISTRY_KEYS.X_KEY).object("state_registry")
    genes.values[VOCABULARY_KEY] = saved.vocabulary.to_dict()
    for key in (REGISTRY_KEYS.LABELS_KEY, REGISTRY_KEYS.BATCH_KEY):
        if key in fields.object("field_registries").values:
            state = fields.object("field_registries").object(key).object("state_registry")
            state.made("categorical_mapping", _as_names)
    return fields.values


def _as_names(value: Any) -> np.ndarray:
    names = np.asarray(value)
    if names.ndim != 1 or not len(names):
        raise ValueError(f"categories are a list of names, not {quoted(value)}")
    return names


def _shapes(config: EncoderConfig, registry: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a module's tensors, without memory for any."""
    with torch.device("meta"):
        module = GeneMambaModule(config, n_labels=len(cell_types_of(registry)))
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _tensors(saved: SavedModel) -> dict[str, torch.Tensor]:
    """Return the tensors under today's names: until version 1 the cell-type head had no programs."""
    tensors = without_prefixes((CALIBRATION_PREFIX, INTEGRATION_PREFIX), saved.tensors)
    if saved.meta.get("format_version") == 1 and "cell_type_head.markers" in tensors:
        tensors["cell_type_head.programs"] = torch.zeros_like(tensors["cell_type_head.markers"])
    return tensors


def _origin(meta: Fields, model: BaseModelClass, attributes: Attributes) -> Origin:
    if "origin" in meta.values:
        fields = meta.object("origin")
        # Not all models of version 5 have noted it.
        within = fields.flag("table_within_batches") if fields.values.get("table_within_batches") is not None else None
        return Origin(
            fields.optional_text("name"),
            fields.object("manifest").values,
            fields.made("evaluation", list),
            fields.flag("has_gene_head"),
            table_within_batches=within,
        )
    # Until version 2 the pretrained weights were among the attributes, and counted as a training.
    old = meta.object("attributes").values.get("pretrained_")
    if old is None:
        return Origin()
    attributes["is_trained_"] = attributes["is_trained_"] and bool(attributes["history_"])
    fields = meta.object("attributes").object("pretrained_")
    # A gene head that has seen cells has the log frequency of each gene as its bias.
    has_head = bool(model.module.gene_head.bias.any())
    return Origin(fields.text("origin"), fields.object("manifest").values, fields.made("evaluation", list), has_head)
