"""Files and folders appear whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from genemamba_sc import _files
from genemamba_sc._files import check_writable, recover, replacing_file, replacing_folder

Replacing = Callable[[Path], AbstractContextManager[Path]]


def write(temporary: Path, text: str) -> None:
    (temporary / "part" if temporary.is_dir() else temporary).write_text(text)


def read(target: Path) -> str:
    return (target / "part" if target.is_dir() else target).read_text()


both = pytest.mark.parametrize("replacing", [replacing_file, replacing_folder], ids=["file", "folder"])


@both
def test_what_was_written_takes_the_place_of_what_stood_there(tmp_path: Path, replacing: Replacing):
    target = tmp_path / "result"
    for text in ("first", "second"):
        with replacing(target) as temporary:
            write(temporary, text)
        assert read(target) == text
    assert os.listdir(tmp_path) == ["result"]


@both
def test_the_old_stays_in_its_place_until_the_new_is_complete(tmp_path: Path, replacing: Replacing):
    target = tmp_path / "result"
    with replacing(target) as temporary:
        write(temporary, "first")
    with replacing(target) as temporary:
        write(temporary, "half of the sec")
        assert read(target) == "first"


@both
@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt("stopped"), ValueError("No such value")],
    ids=["disk full", "interrupt", "a bug of the writer"],
)
def test_a_writer_that_fails_midway_leaves_the_old_and_no_rest(
    tmp_path: Path, replacing: Replacing, error: BaseException
):
    target = tmp_path / "result"
    with replacing(target) as temporary:
        write(temporary, "first")
    with pytest.raises(type(error), match="No space left|stopped|No such value"):
        with replacing(target) as temporary:
            write(temporary, "half of the sec")
            raise error
    assert read(target) == "first"
    assert os.listdir(tmp_path) == ["result"]


@both
def test_a_failed_first_write_leaves_nothing(tmp_path: Path, replacing: Replacing):
    with pytest.raises(OSError, match="No space left"):
        with replacing(tmp_path / "result") as temporary:
            write(temporary, "half")
            raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "held"), KeyboardInterrupt("held")], ids=["error", "interrupt"]
)
def test_a_folder_whose_new_name_cannot_be_taken_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
):
    target = tmp_path / "result"
    with replacing_folder(target) as temporary:
        write(temporary, "first")
    rename = os.replace

    def refuse(source: Path, destination: Path) -> None:
        if destination == target and not Path(source).name.startswith(".replaced-"):
            raise error
        rename(source, destination)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(type(error), match="held"):
        with replacing_folder(target) as temporary:
            write(temporary, "second")
    assert read(target) == "first"
    assert os.listdir(tmp_path) == ["result"]


_FILL = """
import resource, sys
from genemamba_sc._files import replacing_file
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with replacing_file(sys.argv[1]) as temporary, open(temporary, "wb", buffering=0) as stream:
    for _ in range(100):
        if stream.write(bytes(100)) < 100:
            raise OSError("short write")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are those of POSIX")
def test_a_file_that_outgrows_its_disk_leaves_the_old_one(tmp_path: Path):
    target = tmp_path / "result.bin"
    target.write_bytes(b"first")
    done = subprocess.run([sys.executable, "-c", _FILL, str(target)], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "OSError: [Errno 27] File too large: " in done.stderr
    assert f"{target} could not be written; what stood there stays. Free some space" in done.stderr
    assert target.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["result.bin"]


def test_the_suffix_is_kept_since_writers_choose_compression_by_it(tmp_path: Path):
    with replacing_file(tmp_path / "my.table.tsv.gz") as temporary:
        assert temporary.suffixes[-2:] == [".tsv", ".gz"]
        assert temporary.parent == tmp_path


@pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
@both
def test_others_may_read_what_the_umask_lets_them(tmp_path: Path, replacing: Replacing):
    old = os.umask(0o027)
    try:
        with replacing(tmp_path / "result") as temporary:
            write(temporary, "text")
        mode = (tmp_path / "result").stat().st_mode & 0o777
    finally:
        os.umask(old)
    assert oct(mode) == oct(0o640 if replacing is replacing_file else 0o750)


@pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
def test_others_may_read_what_lies_in_a_folder_too(tmp_path: Path):
    old = os.umask(0o022)
    try:
        with replacing_folder(tmp_path / "result") as temporary:
            write(temporary, "text")
            (temporary / "part").chmod(0o600)  # as tempfile makes them
    finally:
        os.umask(old)
    assert oct((tmp_path / "result" / "part").stat().st_mode & 0o777) == oct(0o644)


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
@both
def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path, replacing: Replacing):
    (tmp_path / "far").mkdir()
    with replacing(tmp_path / "far" / "real") as temporary:
        write(temporary, "first")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "far" / "real")
    with replacing(link) as temporary:
        write(temporary, "second")
    assert link.is_symlink()
    assert read(tmp_path / "far" / "real") == "second"
    assert sorted(os.listdir(tmp_path)) == ["far", "link"] and os.listdir(tmp_path / "far") == ["real"]


def test_a_folder_is_made_with_its_parents_and_a_file_is_not(tmp_path: Path):
    with replacing_folder(tmp_path / "new" / "result") as temporary:
        write(temporary, "text")
    assert read(tmp_path / "new" / "result") == "text"
    with pytest.raises(FileNotFoundError, match=r"absent does not exist\. Create it, or choose another place"):
        with replacing_file(tmp_path / "absent" / "result"):
            pytest.fail("the block must not begin")


@both
def test_a_folder_without_the_right_to_write_is_refused_before_any_work(read_only_folder: Path, replacing: Replacing):
    with pytest.raises(PermissionError, match=r"cannot be written to\. Choose another place"):
        with replacing(read_only_folder / "result"):
            pytest.fail("the block must not begin")
    with pytest.raises(PermissionError, match=r"cannot be written to\. Choose another place"):
        check_writable(read_only_folder / "result.h5ad")


def test_a_place_to_write_is_checked_without_writing(tmp_path: Path):
    check_writable(tmp_path / "result.h5ad")
    assert os.listdir(tmp_path) == []
    with pytest.raises(IsADirectoryError, match=r"is a folder\. Give the name of a file"):
        check_writable(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"absent does not exist\. Create it"):
        check_writable(tmp_path / "absent" / "result.h5ad")


@both
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "full"),
        RuntimeError("I/O error: (os error 28)"),
        OSError("(file write failed: errno = 28)"),
    ],
    ids=["of the system", "of safetensors", "of HDF5"],
)
def test_a_full_disk_is_named_with_the_file_and_the_way_out(tmp_path: Path, replacing: Replacing, error: Exception):
    message = r"No space left on device: .*result could not be written; what stood there stays\. Free some space, or"
    with pytest.raises(OSError, match=message) as caught:
        with replacing(tmp_path / "result"):
            raise error
    assert caught.value.errno == errno.ENOSPC and caught.value.__cause__ is error


class Unheard:
    """As h5py's objects: writes when it is dropped, where nothing can be raised."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __del__(self) -> None:
        raise self.error


Unheard.__del__.__qualname__ = "h5py._objects.ObjectID.__dealloc__"


@both
def test_what_fails_where_nothing_can_be_raised_is_raised(
    tmp_path: Path, replacing: Replacing, capfd: pytest.CaptureFixture[str]
):
    target = tmp_path / "result"
    with replacing(target) as temporary:
        write(temporary, "first")
    before = (sys.excepthook, sys.unraisablehook)
    with pytest.raises(
        OSError, match=r"No space left on device: .*result could not be written; what stood there stays"
    ):
        with replacing(target) as temporary:
            write(temporary, "second, with a part that is lost")
            Unheard(RuntimeError("Can't close dataset (file write failed: errno = 28, error message = ...)"))
    assert read(target) == "first" and os.listdir(tmp_path) == ["result"]
    assert (sys.excepthook, sys.unraisablehook) == before
    with pytest.raises(OSError, match=r"result could not be written \(lost\); what stood there stays\. Free some"):
        with replacing(target):
            Unheard(OSError("lost"))
    assert capfd.readouterr() == ("", "")


class Careless:
    def __del__(self) -> None:
        raise RuntimeError("of somebody else")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_others_drop_does_not_stop_a_write(tmp_path: Path):
    with replacing_file(tmp_path / "result") as temporary:
        write(temporary, "text")
        Careless()
    assert read(tmp_path / "result") == "text"


# ---------------------------------------------------------------- writers that die

_DIE = """
import os, signal, sys
from pathlib import Path
from genemamba_sc import _files
from genemamba_sc._files import replacing_file, replacing_folder
place, target = sys.argv[1], Path(sys.argv[2])
rename = os.replace

def replace(source, destination):
    if place == "between" and Path(destination) == target:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, destination)

os.replace = replace
with (replacing_file if place == "file" else replacing_folder)(target) as temporary:
    (temporary if place == "file" else temporary / "part").write_text("second")
    if place != "between":
        os.kill(os.getpid(), signal.SIGKILL)
"""

posix = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")


def die(place: str, target: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _DIE, place, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL


@posix
def test_a_death_between_the_two_renames_is_healed_by_whoever_comes_next(tmp_path: Path):
    target = tmp_path / "model"
    with replacing_folder(target) as temporary:
        write(temporary, "first")
    die("between", target)
    assert not target.exists()
    recover(target)  # the new content was complete
    assert read(target) == "second"
    assert os.listdir(tmp_path) == ["model"]
    die("between", target)
    with replacing_file(tmp_path / "another"):  # any writer beside it
        assert read(target) == "second"
    assert sorted(os.listdir(tmp_path)) == ["another", "model"]


@posix
@pytest.mark.parametrize("place", ["file", "folder"])
def test_the_next_writer_clears_what_dead_ones_left(tmp_path: Path, place: str):
    for number in range(3):
        die(place, tmp_path / f"result-{number}.bin")
    assert len(os.listdir(tmp_path)) == 2  # each cleared what the one before it left
    (tmp_path / ".writing-thesis").write_text("precious")
    with replacing_file(tmp_path / "another"):
        pass
    assert sorted(os.listdir(tmp_path)) == [".writing-thesis", "another"]


def test_writers_that_live_leave_each_other_alone(tmp_path: Path):
    with replacing_folder(tmp_path / "one") as first:
        write(first, "one")
        with replacing_file(tmp_path / "two") as second:
            write(second, "two")
        recover(tmp_path / "three")
        assert first.is_dir()
    assert (read(tmp_path / "one"), read(tmp_path / "two")) == ("one", "two")
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


@both
def test_a_name_as_long_as_the_system_allows_is_written(tmp_path: Path, replacing: Replacing):
    target = tmp_path / ("n" * 250 + ".gz")
    with replacing(target) as temporary:
        write(temporary, "text")
        assert temporary.suffix == ".gz"
    assert read(target) == "text"
    assert os.listdir(tmp_path) == [target.name]


def test_a_place_that_makes_no_files_ends_with_its_own_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    class Nowhere:
        def __init__(self, path: Path) -> None: ...

        def acquire(self, timeout: float) -> None: ...

        def release(self) -> None: ...

    monkeypatch.setattr(_files, "FileLock", Nowhere)
    work, lock = _files._hold(tmp_path, "out.tsv")
    assert lock is None and work.folder == tmp_path
