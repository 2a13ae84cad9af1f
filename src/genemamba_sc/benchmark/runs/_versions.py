"""Name the state of everything that could move a number."""

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("genemamba-sc", "scvi-tools", "torch", "scanpy", "anndata", "scikit-learn", "numpy")


def installed_versions(further: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the versions of Python, of this package and of those that it computes with.

    Parameters
    ----------
    further
        Names of packages beside these, as pip knows them.

    Returns
    -------
    Versions by name; "not installed" where there is none.
    """
    found = {"python": platform.python_version()}
    return found | {name: _version(name) for name in (*PACKAGES, *further)}


@cache
def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        # The same package may be distributed under other names, as xgboost-cpu is.
        others = metadata.packages_distributions().get(name.replace("-", "_"), [])
        return f"{others[0]} {metadata.version(others[0])}" if others else "not installed"


@cache
def code_digest() -> str:
    """Compute a digest of the code of this package: in development one version has many states."""
    root, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
