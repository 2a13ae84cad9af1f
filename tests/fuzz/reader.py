"""What a reader is: the files, the damage, and what must hold of whatever is returned."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Damage = Callable[..., Any]


@dataclass(frozen=True)
class Reader:
    """A reader, the file that is damaged, and the strategy that damages it.

    Parameters
    ----------
    name
        Of the row of the table.
    file
        The damaged file, inside the folder.
    read
        Reads the folder, as far as users of the file do.
    damage
        Makes other content of the content.
    make
        Fills the folder.
    repair
        Makes checksums right again, so that what lies behind them is reached.
    same
        What of the result must be as in the undamaged folder; None where the file may say something else.
    """

    name: str
    file: str
    read: Callable[[Path], Any]
    damage: Damage
    make: Callable[[Path], object]
    repair: Callable[[Path], None] = field(default=lambda folder: None)
    same: Callable[[Any], Any] | None = None


def one_file(name: str, write: Callable[[Path], object]) -> Callable[[Path], object]:
    """Make a folder of one file."""

    def make(folder: Path) -> None:
        folder.mkdir()
        write(folder / name)

    return make
