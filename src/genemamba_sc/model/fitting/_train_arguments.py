"""Refuse, before minutes of fits, arguments of ``GeneMambaModel.train`` that others would refuse after them."""

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from scvi.model._utils import parse_device_args
from scvi.train import Trainer

from genemamba_sc._checks import whole_number, yes_or_no
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.model.fitting._plan import PlanConfig
from genemamba_sc.model.fitting._training import quiet

# Names that users of other packages try, and their names here.
_OTHER_NAMES = {"epochs": "max_epochs", "n_epochs": "max_epochs", "num_epochs": "max_epochs", "device": "devices"}
# What scvi-tools' runner takes, and not the trainer.
_OF_RUNNER = {"trainer_config", "ckpt_path"}
# What `train` itself gives a splitter.
_OF_SPLIT = {"self", "dataset", "train_size", "validation_size", "shuffle_set_split", "batch_size"}
# Arguments of the trainer that this training cannot follow, what to pass instead, and the values that ask for nothing.
_NOT_FOLLOWED: dict[str, tuple[str, tuple[object, ...]]] = {
    "gradient_clip_val": (
        "The training plan clips gradients, at 1.0: pass plan_kwargs={'gradient_clip': NORM} for another norm, a large "
        "one to clip none.",
        (None,),
    ),
    "max_steps": ("Trainings are counted in passes over the cells: pass max_epochs=.", (-1,)),
}
_MONITORS = ("early_stopping_monitor", "checkpointing_monitor")


def check_trainer(trainer_kwargs: Mapping[str, Any], accelerator: str, devices: int | list[int] | str) -> None:
    """Refuse what Lightning would refuse.

    Parameters
    ----------
    trainer_kwargs
        Further arguments of ``train``.
    accelerator, devices
        As in ``train``.

    Raises
    ------
    TypeError
        If a name is not an argument.
    ValueError
        If there is no such device, the trainer does not take a value, or the training does not follow it.
    """
    known = set(_OF_RUNNER)
    for kind in (Trainer, pl.Trainer):
        known |= set(inspect.signature(kind.__init__).parameters)
    known -= {"self", "kwargs"}
    for name, (way_out, nothing) in _NOT_FOLLOWED.items():
        if (value := trainer_kwargs.get(name, nothing[0])) not in nothing:
            raise ValueError(f"train() does not follow {name}. Got {value!r}. {way_out}")
    choices = {field.name for field in fields(PlanConfig)}
    for name in sorted(set(trainer_kwargs) - known):
        raise TypeError(f"train() has no argument {name!r}. {_way_out(name, trainer_kwargs[name], choices, known)}")
    try:
        lightning, places, _ = parse_device_args(accelerator=accelerator, devices=devices, return_device="torch")
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ValueError(
            f"accelerator and devices must name what this machine has: {_devices()}. Got accelerator={accelerator!r}, "
            f"devices={devices!r} ({str(error).splitlines()[0]}). Leave both at 'auto', or name one of these."
        ) from error
    place = {"accelerator": lightning, "devices": places}
    _check_values({name: value for name, value in trainer_kwargs.items() if name not in _OF_RUNNER}, place)


def _check_values(settings: Mapping[str, Any], place: Mapping[str, Any]) -> None:
    """Build a trainer for trial; where that fails, build one for each setting, so that the wrong one can be named."""
    refused = _refusal(settings, place) if settings else None
    if refused is None:
        return
    alone = {name: _refusal({name: value}, place) for name, value in settings.items()}
    wrong = {name: error for name, error in alone.items() if error is not None} or dict.fromkeys(settings, refused)
    error = next(iter(wrong.values()))
    given = ", ".join(f"{name}={settings[name]!r}" for name in wrong)
    told = (str(error).splitlines() or [""])[0]
    raise ValueError(
        f"Further arguments of train() must be values that Lightning's Trainer takes. Got {given} "
        f"({type(error).__name__}: {told}). Leave them out for the defaults, or look them up in Lightning's "
        "documentation of the Trainer."
    ) from error


def _refusal(settings: Mapping[str, Any], place: Mapping[str, Any]) -> Exception | None:
    # A trainer adds callbacks of its own to the list that it gets.
    copied = {name: list(value) if isinstance(value, list) else value for name, value in settings.items()}
    try:
        with quiet():
            Trainer(**{"max_epochs": 1, "logger": False, **place, **copied})
    except Exception as error:  # noqa: BLE001 - whatever kind it is, it is about these values
        return error
    return None


def check_monitors(trainer_kwargs: Mapping[str, Any], module: GeneMambaModule, config: PlanConfig) -> None:
    """Refuse metrics to watch that this training does not log, and modes that say nothing about which value is best.

    Parameters
    ----------
    trainer_kwargs
        Further arguments of ``train``.
    module
        Module to train; one of another class may log others.
    config
        Choices of the training, which tell what is logged.

    Raises
    ------
    ValueError
        If there is no such metric or mode.
    """
    mode = trainer_kwargs.get("early_stopping_mode", "min")
    if mode not in ("min", "max"):
        raise ValueError(
            f"early_stopping_mode must be 'min' or 'max'. Got {mode!r}. Pass one of these, or leave it out: accuracy "
            "is best when it is largest, losses when they are smallest."
        )
    if type(module) is not GeneMambaModule:
        return
    parts = ["loss"]
    if config.mgm_weight > 0:
        parts.append("mgm_loss")
    if module.n_labels and config.classification_weight > 0:
        parts += ["classification_loss", "accuracy"]
    known = [f"{stage}_{part}" for stage in ("validation", "train") for part in parts]
    for name in _MONITORS:
        if name in trainer_kwargs and trainer_kwargs[name] not in known:
            raise ValueError(
                f"{name} must name what this training logs. Got {trainer_kwargs[name]!r}. Choose among {known}."
            )


def check_stopping(early_stopping: object, patience: object) -> None:
    """Refuse choices of early stopping that are none: a text such as ``"no"`` would count as yes.

    Parameters
    ----------
    early_stopping, patience
        ``early_stopping`` and ``early_stopping_patience`` of ``train``.

    Raises
    ------
    TypeError
        If the first is no bool, or the second no whole number.
    ValueError
        If the patience is negative.
    """
    yes_or_no("early_stopping", early_stopping)
    whole_number("early_stopping_patience", patience, 0)


def check_split(
    train_size: object, validation_size: object, shuffle_set_split: object, further: Mapping[str, Any]
) -> None:
    """Refuse choices of the split that would have no effect.

    Parameters
    ----------
    train_size, validation_size, shuffle_set_split
        As in ``train``.
    further
        ``external_indexing``, where it was given.

    Raises
    ------
    TypeError
        If ``shuffle_set_split`` is no bool.
    ValueError
        If sizes were given together with the cells of each part.
    """
    yes_or_no("shuffle_set_split", shuffle_set_split)
    sizes = {"train_size": train_size, "validation_size": validation_size}
    given = [f"{name}={value!r}" for name, value in sizes.items() if value is not None]
    if given and further.get("external_indexing") is not None:
        raise ValueError(
            f"external_indexing names the cells of each part, so sizes say nothing. Got {', '.join(given)} with it. "
            "Leave out one of the two."
        )


def check_splitter(datasplitter_kwargs: Mapping[str, Any] | None, splitter: type) -> dict[str, Any]:
    """Check further choices of the split.

    Parameters
    ----------
    datasplitter_kwargs
        Choices by name.
    splitter
        Class of the splitter, whose further parameters are the names.

    Returns
    -------
    The choices; none where nothing was given.

    Raises
    ------
    TypeError
        If they are no mapping, or a name is none of them.
    """
    if datasplitter_kwargs is None:
        return {}
    if not isinstance(datasplitter_kwargs, Mapping):
        raise TypeError(
            f"datasplitter_kwargs must be a dict. Got {datasplitter_kwargs!r}. Pass e.g. "
            "datasplitter_kwargs={'external_indexing': [train, validation]}."
        )
    parameters = inspect.signature(splitter.__init__).parameters  # type: ignore[misc]
    known = sorted(set(parameters) - _OF_SPLIT)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    own = sorted((_OF_SPLIT - {"self", "dataset"}) & set(datasplitter_kwargs))
    if own:
        raise TypeError(f"datasplitter_kwargs must not name arguments of train(). Got {own}. Pass them to train().")
    unknown = [] if takes_any else sorted(set(datasplitter_kwargs) - set(known))
    if unknown:
        raise TypeError(f"datasplitter_kwargs must name choices of the split. Got {unknown}. Choose among {known}.")
    return dict(datasplitter_kwargs)


def _way_out(name: str, value: object, choices: set[str], known: set[str]) -> str:
    if name in choices:
        return f"It is a choice of the training plan: pass plan_kwargs={{{name!r}: {value!r}}}."
    close = difflib.get_close_matches(name, ["max_epochs", "batch_size", "train_size", *choices, *known], n=1)
    meant = _OTHER_NAMES.get(name, close[0] if close else None)
    hint = "" if meant is None else f"Did you mean {meant}? "
    return hint + "Choices of the training plan go into plan_kwargs, those of Lightning's Trainer stand for themselves."


def _devices() -> str:
    found = ["accelerator='cpu'"]
    if torch.cuda.is_available():
        found.append(f"accelerator='gpu' with devices 0 to {torch.cuda.device_count() - 1}")
    if torch.backends.mps.is_available():
        found.append("accelerator='mps'")
    return ", ".join(found)
