"""GeneMamba's methods, through the public API alone, as a user would call it."""

import inspect
import time
from collections.abc import Callable

import anndata as ad
import numpy as np
import scvi
from baselines import C_OF, fit_by_cv
from outcome import Options, Outcome
from sklearn.preprocessing import StandardScaler
from splits import BATCH, LABEL, column

import genemamba_sc as gm


def new_model(train: ad.AnnData, labels_key: str | None = LABEL, **arguments: object) -> gm.GeneMambaModel:
    """A model of the training cells; batches are registered where there are several."""
    several = len(np.unique(column(train, BATCH))) > 1
    gm.GeneMambaModel.setup_anndata(train, batch_key=BATCH if several else None, labels_key=labels_key)
    return gm.GeneMambaModel(train, **arguments)


def n_params(model: gm.GeneMambaModel) -> int:
    """Parameters of the whole module, the gene table included."""
    return sum(weight.numel() for weight in model.module.parameters())


def effective(function: Callable[..., object], given: dict[str, object]) -> dict[str, object]:
    """The defaults of a function with what was given: defaults move between versions, and rows must say which."""
    plain = (bool, int, float, str)
    defaults = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    return {name: value for name, value in defaults.items() if isinstance(value, plain)} | given


def _trained(
    train: ad.AnnData, test: ad.AnnData, seed: int, model_arguments: dict[str, object], train_arguments: dict
) -> Outcome:
    scvi.settings.seed = seed
    start = time.perf_counter()
    model = new_model(train, **model_arguments)
    model.train(**{"enable_progress_bar": False, **train_arguments})
    predicted = np.asarray(model.predict_celltype(test)).astype(str)
    seconds = time.perf_counter() - start
    settings = {
        "model": effective(gm.GeneMambaModel, model_arguments),
        "train": effective(gm.GeneMambaModel.train, train_arguments),
        "epochs": int(model.trainer.current_epoch),
    }
    return Outcome(
        predicted,
        n_params(model),
        settings,
        seconds,
        train_embedding=model.get_latent_representation(),
        test_embedding=model.get_latent_representation(test),
    )


def genemamba(train: ad.AnnData, test: ad.AnnData, seed: int, options: Options) -> Outcome:
    """The package's defaults, or what the run asks for."""
    return _trained(train, test, seed, dict(options.model), dict(options.train))


def bag(train: ad.AnnData, test: ad.AnnData, seed: int, options: Options) -> Outcome:
    """The same without any Mamba layer: what the layers add is genemamba minus this."""
    return _trained(train, test, seed, {**options.model, "n_layer": 0}, dict(options.train))


def linear_head(train: ad.AnnData, test: ad.AnnData, seed: int, options: Options) -> Outcome:
    """No step of training: the convex fits of the head alone. What training adds is genemamba minus this."""
    return _trained(train, test, seed, {**options.model, "n_layer": 0}, {**options.train, "max_epochs": 0})


def random_encoder(train: ad.AnnData, test: ad.AnnData, seed: int, options: Options) -> Outcome:
    """The encoder as drawn at random, never trained, and a logistic regression on its z-scored embeddings."""
    scvi.settings.seed = seed
    start = time.perf_counter()
    model = new_model(train, labels_key=None, **{**options.model, "gene_init": "random"})
    model.train(max_epochs=0, enable_progress_bar=False)  # no step: the package asks for it before it embeds
    embedding, test_embedding = model.get_latent_representation(), model.get_latent_representation(test)
    scaler = StandardScaler().fit(embedding)
    probe = fit_by_cv(scaler.transform(embedding), column(train, LABEL), C_OF["probe"], seed)
    predicted = probe.predict(scaler.transform(test_embedding))
    settings = {"model": {**options.model, "gene_init": "random"}, "C": float(probe.C)}
    seconds = time.perf_counter() - start
    return Outcome(predicted, n_params(model), settings, seconds, embedding, test_embedding)
