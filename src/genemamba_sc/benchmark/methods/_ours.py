"""Run GeneMamba and its parts through the public API alone, as a user would call it."""

import inspect
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import scvi
from anndata import AnnData
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from genemamba_sc.benchmark._columns import BATCH, LABEL, column
from genemamba_sc.benchmark.methods._linear import C_OF, fit_by_cv
from genemamba_sc.benchmark.methods._outcome import Embedding, Options, Outcome, clock
from genemamba_sc.data import Scale
from genemamba_sc.model import GeneMambaModel


def scale_of(*parts: AnnData) -> Scale:
    """Say what cells hold that every method reads as linear, so that their scale is not guessed a second time.

    Parameters
    ----------
    *parts
        Cells with linear values.
    """
    values = [sparse.csr_matrix(cells.X).data for cells in parts]
    return "counts" if all(np.array_equal(data, np.rint(data)) for data in values) else "normalised"


def new_model(
    train: AnnData, labels_key: str | None = LABEL, scale: Scale | None = None, **arguments: Any
) -> GeneMambaModel:
    """Make a model of the training cells; batches are registered where there are several.

    Parameters
    ----------
    train
        Training cells.
    labels_key
        Column with the types; ``None`` for a model without.
    scale
        What the values are, as in :meth:`genemamba_sc.GeneMambaModel.setup_anndata`; ``None`` finds it out.
    **arguments
        Arguments of :class:`genemamba_sc.GeneMambaModel`.
    """
    several = len(np.unique(column(train, BATCH))) > 1
    GeneMambaModel.setup_anndata(train, batch_key=BATCH if several else None, labels_key=labels_key, scale=scale)
    return GeneMambaModel(train, **arguments)


def integrated_model(
    adata: AnnData, seed: int, integrate: bool | None, options: Options | None = None, **setup: Any
) -> GeneMambaModel:
    """Train a model on cells with batches.

    Parameters
    ----------
    adata
        Cells with ``obs["batch"]``.
    seed
        Seed of the training.
    integrate
        As in :meth:`genemamba_sc.GeneMambaModel.train`.
    options
        Further arguments of model and training.
    **setup
        Further arguments of :meth:`genemamba_sc.GeneMambaModel.setup_anndata`.
    """
    asked = Options() if options is None else options
    scvi.settings.seed = seed
    GeneMambaModel.setup_anndata(adata, batch_key=BATCH, **setup)
    model = GeneMambaModel(adata, **asked.model)
    model.train(**{"integrate": integrate, "enable_progress_bar": False, **_own_callbacks(asked.train)})
    return model


def _own_callbacks(arguments: dict[str, Any]) -> dict[str, Any]:
    """Give a fit copies of the callbacks: they count epochs, and scvi-tools adds its own to their list."""
    return arguments | {name: deepcopy(arguments[name]) for name in ("callbacks",) if name in arguments}


def n_params(model: GeneMambaModel) -> int:
    """Count the parameters of the whole module, the gene table included."""
    return sum(weight.numel() for weight in model.module.parameters())


def effective(function: Callable[..., object], given: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults of a function with what was given: defaults move between versions, and rows must say which.

    Parameters
    ----------
    function
        Function or class.
    given
        Arguments that were passed.
    """
    plain = (bool, int, float, str)
    defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    return {name: value for name, value in defaults.items() if isinstance(value, plain)} | given


def _trained(
    train: AnnData, test: AnnData, seed: int, model_arguments: dict[str, Any], train_arguments: dict[str, Any]
) -> Outcome:
    scvi.settings.seed = seed
    passed = clock()
    scale = scale_of(train, test)
    model = new_model(train, scale=scale, **model_arguments)
    model.train(**{"enable_progress_bar": False, **_own_callbacks(train_arguments)})
    predicted = np.asarray(model.predict_celltype(test, scale=scale)).astype(str)
    seconds = passed()
    settings = {
        "model": effective(GeneMambaModel, model_arguments),
        "train": effective(GeneMambaModel.train, train_arguments),
        "epochs": int(model.trainer.current_epoch),
    }
    return Outcome(
        predicted,
        n_params(model),
        settings,
        seconds,
        train_embedding=model.get_latent_representation(),
        test_embedding=model.get_latent_representation(test, scale=scale),
    )


def genemamba(train: AnnData, test: AnnData, seed: int, options: Options) -> Outcome:
    """Annotate with the package's defaults, or with what the run asks for.

    Parameters
    ----------
    train, test
        Cells with types, and cells to annotate.
    seed
        Seed of the training.
    options
        Arguments of model and training.
    """
    return _trained(train, test, seed, dict(options.model), dict(options.train))


def bag(train: AnnData, test: AnnData, seed: int, options: Options) -> Outcome:
    """Do the same without any Mamba layer: what the layers add is genemamba minus this.

    Parameters
    ----------
    train, test, seed, options
        As in :func:`genemamba`.
    """
    return _trained(train, test, seed, _without_layers(options.model), dict(options.train))


def linear_head(train: AnnData, test: AnnData, seed: int, options: Options) -> Outcome:
    """Take no step of training, only the convex fits of the head: what training adds is genemamba minus this.

    Parameters
    ----------
    train, test, seed, options
        As in :func:`genemamba`.
    """
    return _trained(train, test, seed, _without_layers(options.model), {**options.train, "max_epochs": 0})


def _without_layers(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments of a model without layers; a configuration that is passed whole loses its own."""
    config = arguments.get("encoder_config")
    changed = {} if config is None else {"encoder_config": replace(config, n_layer=0)}
    return {**arguments, "n_layer": 0, **changed}


def random_encoder(train: AnnData, test: AnnData, seed: int, options: Options) -> Outcome:
    """Annotate by a logistic regression on z-scored embeddings of an encoder as drawn at random, never trained.

    Parameters
    ----------
    train, test, seed
        As in :func:`genemamba`.
    options
        Arguments of the model; of the training those that say where it runs, for nothing is trained.
    """
    scvi.settings.seed = seed
    passed = clock()
    scale = scale_of(train, test)
    model = new_model(train, labels_key=None, scale=scale, **{**options.model, "gene_init": "random"})
    # No step: the package asks for it before it embeds. Integration would learn axes from the cells.
    where = {name: options.train[name] for name in ("accelerator", "devices") if name in options.train}
    model.train(max_epochs=0, integrate=False, enable_progress_bar=False, **where)
    embedding, test_embedding = (
        model.get_latent_representation(cells, scale=scale, integrated=False, key_added=None) for cells in (train, test)
    )
    scaler = StandardScaler().fit(embedding)
    probe = fit_by_cv(scaler.transform(embedding), column(train, LABEL), C_OF["probe"], seed)
    predicted = probe.predict(scaler.transform(test_embedding))
    settings = {"model": {**options.model, "gene_init": "random"}, "C": float(probe.C)}
    return Outcome(predicted, n_params(model), settings, passed(), embedding, test_embedding)


def genemamba_embedding(adata: AnnData, seed: int, options: Options) -> Embedding:
    """Integrate batches with the package's defaults, or with what the run asks for, without labels.

    Parameters
    ----------
    adata
        Cells with ``obs["batch"]``.
    seed
        Seed of the training.
    options
        Arguments of model and training.
    """
    passed = clock()
    model = integrated_model(adata, seed, True, options, scale=scale_of(adata))
    values = model.get_latent_representation(key_added=None)
    settings = {"model": effective(GeneMambaModel, options.model), "epochs": int(model.trainer.current_epoch)}
    return Embedding(values, settings, passed())
