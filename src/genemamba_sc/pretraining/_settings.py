"""Compare what a run is asked to do with what was done before: a result must belong to one run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genemamba_sc._files import replacing_file
from genemamba_sc._json import Fields, read_object
from genemamba_sc._pathway_index import PathwayIndex
from genemamba_sc.corpus import TokenCorpus
from genemamba_sc.nn import EncoderConfig, ObjectiveConfig
from genemamba_sc.pretraining._config import RunConfig
from genemamba_sc.pretraining._plan import PretrainingConfig
from genemamba_sc.pretraining._start import START_FILE
from genemamba_sc.pretraining._state import SETTINGS_KEY, STATE_FILE

SETTINGS_FILE = "settings.json"
_PATHWAYS = "pathways_sha256"
_ANEW = "Remove the folder to start anew."

Settings = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Job:
    """Hold what is trained, on which cells, by what and how: the arguments of a pretraining."""

    corpus: TokenCorpus
    encoder: EncoderConfig
    objectives: ObjectiveConfig
    optimisation: PretrainingConfig
    run: RunConfig
    pathways: PathwayIndex | None

    def settings(self) -> Settings:
        """Return everything that decides the result, except the number of processes.

        Raises
        ------
        ValueError
            If encoder or pathways do not fit the corpus.
        """
        if self.encoder.vocab_size != self.corpus.vocabulary.size:
            raise ValueError(
                f"The encoder needs one row per token: {self.corpus.vocabulary.size}. "
                f"Got vocab_size={self.encoder.vocab_size}. "
                "Make its configuration with the size of the corpus's vocabulary."
            )
        tokens = None if self.pathways is None else self.pathways.vocabulary
        if tokens not in (None, self.corpus.vocabulary.fingerprint):
            raise ValueError(
                "Pathways must be those of the corpus's genes, in their order. Got pathways of another vocabulary. "
                "Read them with PathwaySet.from_gmt(path, corpus.vocabulary)."
            )
        return {
            "corpus": self.corpus.identity(),
            "encoder": self.encoder.to_dict(),
            "objectives": asdict(self.objectives),
            "optimisation": asdict(self.optimisation),
            "pathway_genes": None if self.pathways is None else len(self.pathways.bits),
            _PATHWAYS: None if self.pathways is None else self.pathways.sha256,
            "token_budget": self.run.token_budget,
            "max_len": self.run.max_len,
            "n_validation": self.run.n_validation,
            "accumulate": self.run.accumulate,
            "precision": self.run.precision,
        }


def check_folder(folder: Path, settings: Settings) -> None:
    """Refuse a folder that holds the state of a run with other settings; one without a state may be begun anew.

    Raises
    ------
    FileExistsError
        If the settings differ.
    ValueError
        If the noted settings are damaged.
    """
    path = folder / SETTINGS_FILE
    if not path.exists() or not (folder / STATE_FILE).exists():
        return
    if changed := _changed(read_object(path, _ANEW), settings):
        raise FileExistsError(
            f"{folder} holds a run with other settings ({', '.join(changed)} changed). Give the same ones to continue, "
            "choose another folder, or remove it to start again."
        )


def begin_folder(folder: Path, settings: Settings) -> None:
    """Note the settings just before the start; what a run without a state left of other settings is removed."""
    path = folder / SETTINGS_FILE
    text = json.dumps(settings, indent=1)
    if (folder / STATE_FILE).exists() and path.exists():
        return
    if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
        (folder / START_FILE).unlink(missing_ok=True)
        with replacing_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def check_state(path: Path, state: Mapping[str, Any], settings: Settings) -> None:
    """Refuse to go on from the state of a run with other settings, or of one that nobody knows.

    Parameters
    ----------
    path
        File of the state; older states have their settings beside them, in ``settings.json``.
    state
        What it holds.
    settings
        Settings of the run that is to go on.

    Raises
    ------
    ValueError
        If the settings differ, are damaged or unknown, or more steps are done than the run has.
    """
    beside = path.with_name(SETTINGS_FILE)
    if SETTINGS_KEY in state:
        before = Fields.of(json.loads(state[SETTINGS_KEY]), path)
    elif beside.is_file():
        before = read_object(beside, _ANEW)
    else:
        raise ValueError(
            f"A state must come with the settings of its run. {path} has none in it, and no {SETTINGS_FILE} beside it. "
            "Give a state in the folder of its run, or start again in another folder."
        )
    if changed := _changed(before, settings):
        raise ValueError(
            f"A run goes on with the settings it began with. {path} is the state of a run with other settings "
            f"({', '.join(changed)} changed). Give the same ones, or start again in another folder."
        )
    done, n_steps = int(state["global_step"]), settings["optimisation"]["n_steps"]
    if done > n_steps:
        raise ValueError(f"A state has at most the steps of its run, {n_steps}. {path} has {done}. Give another one.")


def _changed(before: Fields, settings: Settings) -> list[str]:
    # Runs that began before these fields existed lack them. Edges do not matter to them: from a corpus an encoder reads
    # the middles of half-octaves, which lie on no edge. Of their pathways only the number of genes is known.
    before.object("encoder").values.setdefault("exact_edges", settings["encoder"]["exact_edges"])
    before.values.setdefault(_PATHWAYS, settings.get(_PATHWAYS))
    return [key for key in settings if before.values.get(key) != json.loads(json.dumps(settings[key]))]
