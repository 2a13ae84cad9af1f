"""One writer at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

from genemamba_sc._files import only_writer

HOLD = """
import sys
from pathlib import Path
from genemamba_sc._files import only_writer
with only_writer(Path(sys.argv[1]), "It"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_one_ends(tmp_path: Path):
    lock = tmp_path / ".lock"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout.readline() == "held\n"

    with pytest.raises(FileExistsError, match="The corpus X must have one writer at a time"):
        with only_writer(lock, "The corpus X"):
            pass

    first.kill()  # a lock goes with its process, however that ends
    first.wait()
    first.stdin.close()
    first.stdout.close()
    with only_writer(lock, "The corpus X"):
        assert lock.exists()
    assert not lock.exists()
