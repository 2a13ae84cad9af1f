"""Configure what is pretrained and where: named sizes, and how a run is executed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from genemamba_sc._checks import whole_number
from genemamba_sc.nn import EncoderConfig

# Width, depth and state. The published size also has the published structure.
SIZES: Mapping[str, Mapping[str, int]] = {
    "mini": {"d_model": 64, "n_layer": 1, "d_state": 16, "expand": 1, "context_len": 256},
    "small": {"d_model": 256, "n_layer": 8, "d_state": 64, "expand": 2},
    "base": {"d_model": 512, "n_layer": 12, "d_state": 64, "expand": 2},
}


def encoder_of_size(size: str, vocab_size: int) -> EncoderConfig:
    """Return the encoder of a named size: ``mini``, ``small``, ``base`` or ``published``.

    Parameters
    ----------
    size
        Name of the size.
    vocab_size
        Number of tokens. The published encoder gets rows for [CLS] and [MASK] in addition.

    Raises
    ------
    ValueError
        If the name is none of these.

    Examples
    --------
    >>> gm.encoder_of_size("mini", vocab_size=1000).d_model
    64
    """
    if size == "published":
        return replace(EncoderConfig.published(), vocab_size=vocab_size)
    if size not in SIZES:
        raise ValueError(f"size must be one of {[*SIZES, 'published']}. Got {size!r}. Choose one, or pass a config.")
    return EncoderConfig(vocab_size=vocab_size, **SIZES[size])  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Configure where and how a run is executed.

    Parameters
    ----------
    token_budget
        Largest number of padded tokens of a batch of one process.
    max_len
        Number of tokens read of each cell; ``None`` reads all that the corpus holds.
    n_validation
        Number of cells held out.
    accumulate
        Number of batches of each process per step.
    save_every, validate_every, log_every
        Number of steps between two saved states, two validations, two lines of the log. Held-out cells are looked at
        after the last step, too.
    accelerator, devices, num_nodes, strategy, precision
        As in :class:`lightning.pytorch.Trainer`; ``strategy`` is ``"auto"``, ``"ddp"`` or ``"fsdp"``.
    n_workers
        Number of processes that read ahead, for each training process. They are started afresh ("spawn"), so a script
        needs ``if __name__ == "__main__":`` for one or more.
    activation_checkpointing
        Whether the backward pass computes activations again: this takes less memory and about a third more time.
    progress
        Whether a progress bar is shown.
    """

    token_budget: int = 32_768
    max_len: int | None = None
    n_validation: int = 0
    accumulate: int = 1
    save_every: int = 500
    validate_every: int = 1000
    log_every: int = 10
    accelerator: str = "auto"
    devices: int | str = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    n_workers: int = 0
    activation_checkpointing: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        for name in ("token_budget", "accumulate", "save_every", "validate_every", "log_every", "num_nodes"):
            whole_number(name, getattr(self, name), 1)
        if self.strategy not in ("auto", "ddp", "fsdp"):
            raise ValueError(f"strategy must be auto, ddp or fsdp. Got {self.strategy!r}. Choose one of them.")


@dataclass(frozen=True)
class RunReport:
    """Tell how a run ended.

    Parameters
    ----------
    n_steps
        Number of all steps done.
    finished
        Whether all steps are done and the weights written; if not, the same call continues the run.
    is_main
        Whether this process speaks for the run; the others stay silent.
    """

    n_steps: int
    finished: bool
    is_main: bool
