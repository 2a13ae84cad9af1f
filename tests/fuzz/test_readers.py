"""Damaged files are returned rightly or refused in words of ours: never a foreign error, never without end.

Few cases a reader here; ``benchmarks/robustness/fuzz.py`` runs thousands.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

if sys.platform != "linux":
    pytest.skip("limits of memory are those of Linux", allow_module_level=True)
pytest.importorskip("pyarrow")

from cell_readers import LONG_CELLS
from damaged_stores import damaged_hdf5
from guard import Tally, limits
from reader import Reader
from readers import READERS

CASES = int(os.environ.get("GENEMAMBA_FUZZ_CASES", "50"))
SEED = int(os.environ.get("GENEMAMBA_FUZZ_SEED", "0"))

fuzz = settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink] if CASES <= 1000 else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory where there is one: the disk is not what is tested, and it is written thousands of times."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


def whole(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restore(folder: Path, content: dict[Path, bytes]) -> None:
    for path in whole(folder).keys() - content.keys():
        path.unlink()
    for path, before in content.items():
        if not path.exists() or path.read_bytes() != before:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(before)


def checker(reader: Reader, folder: Path) -> Callable[[object], None]:
    """Give what holds of a result: what it says of the undamaged folder, where that cannot change."""
    if reader.same is None:
        reader.read(folder)  # the undamaged files are readable
        return lambda found: None
    first, same = reader.same(reader.read(folder)), reader.same

    def check(found: object) -> None:
        assert same(found) == first, f"{reader.name}: a changed file was read as something else"

    return check


@pytest.mark.filterwarnings("ignore")  # old samples, no medians
@pytest.mark.parametrize("reader", READERS if CASES <= 1000 else READERS + LONG_CELLS, ids=lambda reader: reader.name)
def test_a_damaged_file_is_read_rightly_or_refused_by_name(reader: Reader, place: Path):
    folder = place / "damaged"
    reader.make(folder)
    file, content = folder / reader.file, whole(folder)
    check, names = checker(reader, folder), (Path(reader.file).name, str(folder))
    restore(folder, content)
    arguments = (place,) if reader.damage is damaged_hdf5 else ()
    damage = reader.damage(content[file], *arguments)
    tally = Tally(reader.name)

    @seed(SEED)
    @fuzz
    @given(data=st.data())
    def cases(data: st.DataObject) -> None:
        damaged = data.draw(damage)
        file.write_bytes(damaged)
        if isinstance(damaged, bytearray):
            damaged.clear()  # Hypothesis keeps what was drawn, thousands of contents
        reader.repair(folder)
        try:
            tally.case(lambda: reader.read(folder), check, names)
        finally:
            restore(folder, content)

    cases()
    tally.finished = True
    tally.write()
    assert tally.cases >= min(CASES, 50) and tally.returned + tally.refused == tally.cases, dict(tally.foreign)


def test_the_limits_end_what_takes_too_long_or_too_much(monkeypatch: pytest.MonkeyPatch):
    import guard

    monkeypatch.setattr(guard, "SECONDS", 0.05)
    with pytest.raises(guard.TooLong, match="longer than"), limits():
        while True:
            pass
    with pytest.raises(MemoryError), limits():
        bytearray(8 << 30)
