"""Compute size and SHA-256 of the files that a corpus is made from."""

import hashlib
from pathlib import Path

_BLOCK = 1 << 22


def size_and_sha256(path: Path) -> tuple[int, str]:
    """Return bytes and SHA-256 of a file; of a folder, over the names and contents of its files in sorted order."""
    digest, size = hashlib.sha256(), 0
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                size += len(block)
    return size, digest.hexdigest()
