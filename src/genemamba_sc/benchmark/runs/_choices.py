"""Read what is asked for: splits, methods and seeds; what cannot be is refused before any work."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from genemamba_sc._checks import whole_number
from genemamba_sc.benchmark._splits import LARGEST_BATCHES, TEST_SIZE
from genemamba_sc.benchmark.methods._methods import METHODS, Method
from genemamba_sc.benchmark.methods._outcome import Options
from genemamba_sc.benchmark.runs._plain import not_plain

Kind = Literal["random", "batch", "few", "query"]
_FORMS = "random, random:SHARE, batch, batch:NUMBER, few:NUMBER, few:SHARE, query or query:COLUMN=VALUE"


@dataclass(frozen=True)
class SplitChoice:
    """Say how cells are split.

    Parameters
    ----------
    kind
        ``"random"``: a share of the cells is tested, drawn by type. ``"batch"``: each of the largest batches is tested
        once. ``"few"``: as random, with few labels to train on. ``"query"``: given cells are tested.
    text
        How it was asked for, which is its name in results.
    amount
        Share of the cells (random), number of batches (batch), share or number of labels of each type (few).
    column, value
        Which cells are the query; ``""`` where it is an AnnData of its own.
    """

    kind: Kind
    text: str
    amount: float = 0.0
    column: str = ""
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> "SplitChoice":
        """Read one split.

        Parameters
        ----------
        text
            random, random:0.3, batch, batch:2, few:10, few:0.05, query or query:COLUMN=VALUE.

        Raises
        ------
        TypeError
            If it is no text.
        ValueError
            If it says no split.
        """
        if not isinstance(text, str):
            raise TypeError(f"A split is text. Got {text!r}. Write one of {_FORMS}.")
        kind, colon, rest = text.partition(":")
        if text == "random" or (kind == "random" and 0 < (_number(rest) or 0) < 1):
            return cls("random", text, _number(rest) or TEST_SIZE)
        if text == "batch" or (kind == "batch" and _is_whole(rest)):
            return cls("batch", text, float(rest or LARGEST_BATCHES))
        if kind == "few" and (_is_whole(rest) or 0 < (_number(rest) or 0) < 1):
            return cls("few", text, float(rest))
        column, equals, value = rest.rpartition("=")
        if kind == "query" and (not colon or (column and equals and value)):
            return cls("query", text, 0.0, column, value)
        raise ValueError(f"A split is one of {_FORMS}. Got {text!r}. Shares lie between 0 and 1, numbers are whole.")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_whole(text: str) -> bool:
    return text.isdecimal() and int(text) >= 1


def chosen_splits(splits: Sequence[str] | str | None, *, has_batches: bool, has_query: bool) -> tuple[SplitChoice, ...]:
    """Read the splits; ``None`` takes random, by batch where there are several, and the query where there is one.

    Raises
    ------
    ValueError
        If there is none, one is named twice, or one needs batches or a query that there are not.
    """
    if splits is None:
        splits = ["random", *(["batch"] if has_batches else []), *(["query"] if has_query else [])]
    found = tuple(SplitChoice.parse(text) for text in ([splits] if isinstance(splits, str) else splits))
    _refuse_repeats("splits", [choice.text for choice in found])
    for choice in found:
        if choice.kind == "batch" and not has_batches:
            raise ValueError("The split 'batch' needs a batch_key with two batches or more. Pass it, or leave it out.")
        if choice.text == "query" and not has_query:
            raise ValueError("The split 'query' needs a second AnnData: pass query=, or write query:COLUMN=VALUE.")
    if has_query and not any(choice.text == "query" for choice in found):
        raise ValueError("query= is read by the split 'query', which splits= does not name. Name it, or leave out one.")
    return found


def chosen_methods(methods: Sequence[str] | str | None, *, integrates: bool) -> tuple[Method, ...]:
    """Read the methods; ``None`` takes all that are quick, ``"all"`` every one.

    Parameters
    ----------
    methods
        Names; a name may stand for a method of annotation and one of integration.
    integrates
        Whether there are batches to integrate; methods of integration are left out otherwise.

    Raises
    ------
    ValueError
        If a name is unknown or repeated, or stands for integration alone where there is nothing to integrate.
    """
    offered = [method for method in METHODS if method.task == "annotation" or integrates]
    if methods is None:
        return tuple(method for method in offered if not method.is_slow)
    names = [methods] if isinstance(methods, str) else list(methods)
    if names == ["all"]:
        return tuple(offered)
    _refuse_repeats("methods", names)
    known = list(dict.fromkeys(method.name for method in METHODS))
    for name in names:
        if name not in known:
            raise ValueError(f"A method is one of {', '.join(known)}, or all. Got {name!r}. Name some of these.")
        if name not in {method.name for method in offered}:
            raise ValueError(f"The method {name!r} integrates batches. Got no batch_key with two of them. Pass one.")
    return tuple(method for method in offered if method.name in names)


def chosen_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Read the seeds: a number of them, from 0 on, or the seeds themselves.

    Raises
    ------
    TypeError, ValueError
        If they are none.
    """
    if isinstance(seeds, Sequence) and not isinstance(seeds, str):
        found = tuple(whole_number("A seed", seed, 0) for seed in seeds)
        _refuse_repeats("seeds", list(found))
        return found
    return tuple(range(whole_number("seeds", seeds, 1)))


def chosen_options(
    model_kwargs: Mapping[str, Any] | None, train_kwargs: Mapping[str, Any] | None, *, is_kept: bool = False
) -> Options:
    """Read the arguments of GeneMamba.

    Parameters
    ----------
    model_kwargs, train_kwargs
        The arguments.
    is_kept
        Whether rows are kept in a folder, where arguments must be such that a later call can tell them from others.

    Raises
    ------
    TypeError, ValueError
        If an argument is unknown, names a device that there is not, or cannot be kept.
    """
    from genemamba_sc.model import GeneMambaModel
    from genemamba_sc.model.fitting._train_arguments import check_trainer

    model, train = dict(model_kwargs or {}), dict(train_kwargs or {})
    known = set(inspect.signature(GeneMambaModel).parameters) - {"adata", "registry", "kwargs"}
    if unknown := sorted(set(model) - known):
        raise TypeError(f"model_kwargs are arguments of GeneMambaModel: {sorted(known)}. Got {unknown}. Name these.")
    own = set(inspect.signature(GeneMambaModel.train).parameters)
    further = {name: value for name, value in train.items() if name not in own}
    check_trainer(further, train.get("accelerator", "auto"), train.get("devices", "auto"))
    if is_kept:
        _refuse_objects({"model_kwargs": model, "train_kwargs": train})
    return Options(model, train)


def _refuse_objects(arguments: Mapping[str, dict[str, Any]]) -> None:
    """Refuse arguments that do not tell by what they hold whether they are the same in a later call."""
    found = [one for name, values in arguments.items() for one in not_plain(values, name)]
    if found:
        raise TypeError(
            "With folder=, arguments are None, numbers, text, lists, dicts or configurations of these, so that a later "
            f"call knows its rows again. {'; '.join(found[:3])}. Write arrays as lists, or leave out folder."
        )


def _refuse_repeats(what: str, names: Sequence[object]) -> None:
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"{what} must name at least one, and each once. Got {list(names)}. Leave out what is repeated."
        )
