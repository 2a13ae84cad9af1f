"""Fetch checkpoints from the Hugging Face Hub by file name and commit. The library is imported when it is needed."""

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

# Only these files are fetched: no code, no pickles.
_WANTED = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "manifest.json",
    "evaluation.json",
    "README.md",
    "cells.safetensors",
    "tokenizer.json",
    "gene_tokenizer.json",
    "vocabulary.tsv",
    "vocabulary.tsv.gz",
    "medians.tsv",
    "medians.tsv.gz",
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def is_repository(name: str) -> bool:
    """Tell whether a name has the form ``owner/name``."""
    return _REPOSITORY.fullmatch(name) is not None


def download(repo_id: str, revision: str | None, subfolder: str | None = None) -> Path:
    """Fetch a checkpoint, or find it in the cache of huggingface_hub.

    Parameters
    ----------
    repo_id
        Repository, as ``owner/name``.
    revision
        Full commit hash.
    subfolder
        Folder of the repository that holds the weights; vocabulary files are fetched from its root as well.

    Returns
    -------
    The local folder of the repository; the weights are in its ``subfolder``.

    Raises
    ------
    ValueError
        If the revision is no commit hash.
    ImportError
        If huggingface_hub is not installed.
    OSError
        If the repository cannot be reached or found.
    """
    if revision is None or not _COMMIT.fullmatch(revision):
        raise ValueError(
            f"A repository changes, so a checkpoint on the Hugging Face Hub is named by its commit. Got {repo_id!r} "
            f"with revision={revision!r}. Pass revision= with the 40 digits shown at "
            f"https://huggingface.co/{repo_id}/commits/main, or give the path of a folder that exists."
        )
    library = _library()
    patterns = list(_WANTED)
    if subfolder is not None:
        weightless = [name for name in _WANTED if "safetensors" not in name]
        patterns = [*weightless, *(f"{subfolder}/{name}" for name in _WANTED)]
    try:
        return Path(library.snapshot_download(repo_id, revision=revision, allow_patterns=patterns))
    # Every error of the library is an OSError: no network, no such repository or commit, no access.
    except OSError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise OSError(
            f"{repo_id} at {revision[:12]} could not be read from the Hugging Face Hub ({reason}). Check name, commit, "
            "network and access. Without a network, fetch the files on another machine and give their folder."
        ) from error


def upload(folder: Path, repo_id: str, *, private: bool, message: str) -> str:
    """Upload a folder as one commit; the repository is created if there is none.

    Parameters
    ----------
    folder
        The folder to upload.
    repo_id
        Repository, as ``owner/name``.
    private
        Whether a new repository is private.
    message
        Message of the commit.

    Returns
    -------
    The hash of the commit.

    Raises
    ------
    ValueError
        If ``repo_id`` has another form.
    ImportError
        If huggingface_hub is not installed.
    OSError
        If the upload fails.
    """
    if not is_repository(repo_id):
        raise ValueError(f"A repository is named owner/name. Got {repo_id!r}. Pass e.g. 'my-lab/genemamba-blood'.")
    api = _library().HfApi()
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo_id, folder_path=str(folder), commit_message=message)
    except OSError as error:
        raise OSError(
            f"The upload to {repo_id} failed ({error}). Log in with `hf auth login` and check that you may write there."
        ) from error
    return str(commit.oid)


def _library() -> ModuleType:
    try:
        return import_module("huggingface_hub")
    except ImportError as error:
        raise ImportError(
            "The Hugging Face Hub needs huggingface_hub, which is not installed. Install it with "
            "pip install 'genemamba-sc[hub]', or give the path of a local folder."
        ) from error
