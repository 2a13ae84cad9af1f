"""Build a corpus from files of cells: planned, shared among processes, resumable, without duplicates."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from genemamba_sc._checks import whole_number
from genemamba_sc._files import only_writer, replacing_file
from genemamba_sc._json import read_object
from genemamba_sc._warn import warn
from genemamba_sc.corpus._assembly import NoCells, assemble
from genemamba_sc.corpus._contents import changed_choices, changed_files, note_contents
from genemamba_sc.corpus._manifest import GENES_FILE, MANIFEST_FILE, read_manifest
from genemamba_sc.corpus._pieces import Piece, tokenize_piece
from genemamba_sc.corpus._records import is_whole, read_record, write_record
from genemamba_sc.corpus._sources import Reading, Source, examine, vocabulary_of
from genemamba_sc.data import GeneVocabulary, Place, Scale

WORK_FOLDER = ".unfinished"
_SETTINGS_FILE = "settings.json"
# Number of cells of a unit of work: what is lost when a run is killed, and what becomes one shard of some 200 MB.
_PIECE_CELLS = 65_536

Progress = Callable[[int, int], None]
Task = tuple[Callable[..., int], tuple[Any, ...]]


@dataclass(frozen=True)
class _Request:
    """Hold what one corpus is made of: the files, the genes and the choices of :func:`build_corpus`."""

    paths: Sequence[Path]
    vocabulary: GeneVocabulary | None
    max_len: int
    min_genes: int
    reading: Reading

    def settings(self) -> dict[str, Any]:
        """Return everything that decides the result, in the form in which two runs are compared."""
        return {
            "files": [[path.name, *_stamp(path)] for path in self.paths],
            "vocabulary": None if self.vocabulary is None else self.vocabulary.fingerprint,
            "filters": {"max_len": self.max_len, "min_genes": self.min_genes, "duplicates": "removed"},
            **self.reading.settings(),
        }


def build_corpus(
    files: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    vocabulary: GeneVocabulary | None = None,
    max_len: int = 2048,
    layer: str | None = None,
    gene_id_key: str | None = None,
    use_raw: bool = False,
    modality: str | None = None,
    scale: Scale | None = None,
    min_genes: int = 1,
    jobs: int = 1,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Tokenise h5ad, h5mu, zarr and 10x files into a corpus.

    Cells are read in blocks, so memory does not grow with the files (except for files stored by columns, which are read
    as a whole). Of several cells with the same tokens the first one is kept, in the order of the files. The corpus is
    the same for any number of jobs, and whether or not the run was killed and started again.

    Parameters
    ----------
    files
        The files and folders, in the order in which duplicates are looked for; or one of them.
    out
        Folder of the corpus. If a run was killed, the same call continues it; if the corpus is complete, nothing is
        done. Whether the call is the same is told by the choices and by name, order and SHA-256 of the files: they are
        read for that, which takes little time beside tokenising them.
    vocabulary
        The genes that have tokens; ``None`` takes the genes of the files, with their medians. A complete corpus of an
        earlier version does not say which of the two it was made with: ``None`` finds it, whatever its genes are.
    max_len
        Largest number of tokens kept of each cell.
    layer
        Layer with the expression, in all files; ``None`` reads ``X``.
    gene_id_key
        Column of ``var`` with the gene names; ``None`` reads ``var_names``.
    use_raw
        Whether the expression and the genes of ``raw`` are read, in all files.
    modality
        Modality of h5mu files; ``None`` takes ``"rna"``, or the only one.
    scale
        What the values of all files are, as in :meth:`genemamba_sc.GeneMambaModel.setup_anndata`; ``None`` finds out
        for each file.
    min_genes
        Least number of tokens of a cell; cells with fewer are dropped.
    jobs
        Number of processes that share the work. They are started afresh ("spawn"), so a script needs
        ``if __name__ == "__main__":`` for more than one.
    on_progress
        Function that is called with the number of cells done and the number of all cells.

    Returns
    -------
    The manifest.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    FileExistsError
        If ``out`` holds anything but this corpus, finished or not (one of files with other contents, or of another
        vocabulary, for example), or another process is writing it.
    TypeError
        If something else than paths is given.
    ValueError
        If there is no file, one cannot be read as expression, or its genes do not match.
    """
    paths, target = _checked_paths(files), Path(out)
    whole_number("max_len", max_len, 1)
    if whole_number("min_genes", min_genes, 1) > max_len:
        raise ValueError(f"min_genes must not exceed max_len={max_len}. Got {min_genes}: every cell would be dropped.")
    whole_number("jobs", jobs, 1)
    reading = Reading(Place(layer, use_raw, modality), gene_id_key, scale)
    request = _Request(paths, vocabulary, max_len=max_len, min_genes=min_genes, reading=reading)
    settings = request.settings()
    if (target / MANIFEST_FILE).exists():
        return _finished(target, request, settings, jobs)
    with only_writer(target.absolute().with_name(f".{target.name}.lock"), f"The corpus {target}"):
        return _build(target, request, settings, jobs, on_progress)


def _build(
    target: Path, request: _Request, settings: dict[str, Any], jobs: int, on_progress: Progress | None
) -> dict[str, Any]:
    """Write what is missing of the corpus; the caller holds the lock."""
    if (target / MANIFEST_FILE).exists():  # another process finished it before the lock was free
        return _finished(target, request, settings, jobs)
    work = _begin(target, settings)
    records = [work / f"source-{number:05d}.json" for number in range(len(request.paths))]
    noted = [record for path in records if (record := read_record(path)) is not None]
    goes_on = len(noted) == len(records)  # otherwise there is no piece yet
    if goes_on and (changed := changed_files(request.paths, noted, jobs)):
        raise _unfinished(target, [f"content of {name}" for name in changed])
    _note_genes(work / GENES_FILE, request, goes_on)
    known = GeneVocabulary.from_tsv(work / GENES_FILE)
    sources = [examine(path, known, request.reading) for path in request.paths]
    if not goes_on:
        note_contents(request.paths, records, jobs)
    pieces = _plan(sources, work, request)
    tasks: list[Task] = [(tokenize_piece, (piece,)) for piece in _missing(pieces, any(target.glob("data-*.arrow")))]
    _run(tasks, jobs, sum(source.n_cells for source in sources), on_progress)
    try:
        manifest = assemble(target, pieces, sources, records, known, settings)
    except NoCells:
        _remove(work)  # the options are the cause, so nobody goes on with them
        raise
    _remove(work)
    return manifest


def _remove(work: Path) -> None:
    """Remove the unfinished parts, and a folder that holds nothing else."""
    shutil.rmtree(work)
    with suppress(OSError):
        work.parent.rmdir()


def _note_genes(path: Path, request: _Request, goes_on: bool) -> None:
    """Write the genes that all pieces read, unless a run that was killed has written them and they are whole."""
    record_path = path.with_suffix(".json")
    record = read_record(record_path)
    if goes_on and record is not None and is_whole(record, path):
        return
    (request.vocabulary or vocabulary_of(request.paths, request.reading)).to_tsv(path)
    write_record(record_path, {}, [path])


def _missing(pieces: Sequence[Piece], has_shards: bool) -> list[Piece]:
    """List the pieces that are still to be made; those that are there, and damaged, are made again."""
    missing = [piece for piece in pieces if not piece.is_done(has_shards)]
    damaged = [piece.name for piece in missing if piece.record.exists()]
    if damaged:
        warn(f"Parts of an unfinished corpus are damaged: {', '.join(damaged[:5])}. They are made again.")
    return missing


def _checked_paths(files: str | Path | Sequence[str | Path]) -> list[Path]:
    given = list(files) if isinstance(files, Iterable) and not isinstance(files, str) else [files]
    if wrong := [type(file).__name__ for file in given if not isinstance(file, str | Path)]:
        raise TypeError(
            f"A corpus is made of files on disk, named by their paths. Got {wrong[0]}. Write cells with "
            "adata.write_h5ad(path) and pass the path."
        )
    paths = [Path(file) for file in given]
    if not paths:
        raise ValueError("A corpus needs at least one file of cells. Got none. Pass h5ad files or zarr folders.")
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist. Give the path of an h5ad file or of a zarr folder.")
    return paths


def _stamp(path: Path) -> tuple[int, int]:
    """Return size and time of change, which show whether a file was replaced between two runs."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    stats = [file.stat() for file in files]
    return sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)


def _finished(target: Path, request: _Request, settings: dict[str, Any], jobs: int) -> dict[str, Any]:
    """Return the manifest of a corpus that is already complete, if it is the one asked for."""
    manifest = read_manifest(target)
    changed = changed_choices(manifest, settings)
    if not changed:
        changed = [f"content of {name}" for name in changed_files(request.paths, manifest["sources"], jobs)]
    if changed:
        raise FileExistsError(
            f"{target} holds a corpus of other files or settings ({', '.join(changed)} changed; see its "
            f"{MANIFEST_FILE}). Choose another folder, or remove this one to make the corpus anew."
        )
    shutil.rmtree(target / WORK_FOLDER, ignore_errors=True)  # a run that was killed while it tidied up
    return manifest


def _begin(target: Path, settings: dict[str, Any]) -> Path:
    """Make the folder of the unfinished parts, or continue in it."""
    work = target / WORK_FOLDER
    if not work.exists():
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise FileExistsError(f"{target} exists and holds no corpus, so it is left alone. Choose another folder.")
        work.mkdir(parents=True)
    stored = work / _SETTINGS_FILE
    if not stored.exists():
        with replacing_file(stored) as temporary:
            temporary.write_text(json.dumps(settings), encoding="utf-8")
    before = read_object(stored, "Remove the folder to start anew.").values
    changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
    if changed and not any(work.glob("piece-*")) and not any(target.glob("data-*.arrow")):
        shutil.rmtree(work)  # nothing is tokenised: the files were refused as these options read them
        return _begin(target, settings)
    if changed:
        raise _unfinished(target, changed)
    for left in work.glob(".writing-*"):
        left.unlink()
    return work


def _unfinished(target: Path, changed: Sequence[str]) -> FileExistsError:
    return FileExistsError(
        f"{target} holds an unfinished corpus of other settings ({', '.join(changed)} changed). "
        "Give the same files and options to continue, or remove the folder to start again."
    )


def _plan(sources: Sequence[Source], work: Path, request: _Request) -> list[Piece]:
    pieces = []
    for number, source in enumerate(sources):
        size = max(1, source.n_cells) if source.by_columns else _PIECE_CELLS
        for part, first in enumerate(range(0, source.n_cells, size)):
            piece = Piece(
                name=f"piece-{number:05d}-{part:05d}",
                folder=work,
                number=number,
                source=source,
                first=first,
                last=min(first + size, source.n_cells),
                place=request.reading.place,
                vocabulary=work / GENES_FILE,
                max_len=request.max_len,
                min_genes=request.min_genes,
            )
            pieces.append(piece)
    return pieces


def _run(tasks: list[Task], jobs: int, n_cells: int, on_progress: Progress | None) -> None:
    left = sum(args[0].last - args[0].first for function, args in tasks if function is tokenize_piece)
    done = n_cells - left
    for n_read in _results(tasks, min(jobs, len(tasks))):
        done += n_read
        if on_progress is not None:
            on_progress(done, n_cells)


def _results(tasks: Iterable[Task], jobs: int) -> Iterator[int]:
    if jobs < 2:
        yield from (function(*arguments) for function, arguments in tasks)
        return
    # The processes are spawned, not forked: the parent may hold threads of torch and open HDF5 files.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        futures: list[Future[int]] = [pool.submit(function, *arguments) for function, arguments in tasks]
        yield from (future.result() for future in as_completed(futures))
    finally:
        pool.shutdown(cancel_futures=True)
