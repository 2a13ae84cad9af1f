"""Keep a digest beside a file, so that what is read is what was written."""

import hashlib
from pathlib import Path

from genemamba_sc._files import replacing_file

_SUFFIX = ".sha256"


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def announce_digest(path: Path, written: Path) -> None:
    """Note the digest of ``written``, which is to take the place of ``path`` next.

    The digest of what stands at ``path`` stays noted as well: if the process is killed between the two renames, one of
    the two digests still fits.

    Parameters
    ----------
    path
        The file under its final name.
    written
        Its new content, under a temporary name.
    """
    before = [sha256_of(path)] if path.exists() else []
    with replacing_file(_beside(path)) as temporary:
        temporary.write_text("\n".join([sha256_of(written), *before]) + "\n", encoding="ascii")


def check_digest(path: Path, way_out: str) -> None:
    """Refuse a file that is not what was written; a file without a digest is from an older version and is accepted.

    Parameters
    ----------
    path
        The file.
    way_out
        What the user can do, for the message.

    Raises
    ------
    ValueError
        If the digests differ.
    """
    noted = _beside(path)
    if not noted.is_file():
        return
    found = sha256_of(path)
    if found not in noted.read_text(encoding="ascii", errors="replace").split():
        raise ValueError(
            f"{path} must be as it was written, by the SHA-256 in {noted.name}. Got {found}: it is damaged. {way_out}"
        )


def _beside(path: Path) -> Path:
    return path.with_name(path.name + _SUFFIX)
