"""A digest beside a file."""

import hashlib
import os
from pathlib import Path

import pytest

from genemamba_sc._digests import announce_digest, check_digest, sha256_of


def test_the_digest_is_that_of_the_content(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"cells")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"cells").hexdigest()


def test_a_file_is_accepted_before_and_after_it_is_replaced_and_refused_once_it_is_changed(tmp_path: Path):
    path, new = tmp_path / "state", tmp_path / "new"
    for content in (b"first", b"second"):
        new.write_bytes(content)
        announce_digest(path, new)
        if path.exists():
            check_digest(path, "")  # killed here, the old file is still good
        os.replace(new, path)
        check_digest(path, "")

    path.write_bytes(b"secomd")
    with pytest.raises(ValueError, match=r"state must be as it was written.*it is damaged\. Copy it again\."):
        check_digest(path, "Copy it again.")


def test_a_file_of_an_older_version_has_no_digest_and_is_accepted(tmp_path: Path):
    (tmp_path / "old").write_bytes(b"anything")
    check_digest(tmp_path / "old", "")
