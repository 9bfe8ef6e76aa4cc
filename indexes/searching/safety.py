"""Whether an INDEX folder may be opened: one that was not written or checked here before is checked first.

FAISS and Arrow are C++ readers of trusted files: a wrong number in one can end the process, hang it, or ask
for a terabyte. So a folder from elsewhere is first looked at here, without them (manifest, paths, sizes,
headers), and then verified, sha256 before all else, opened and searched in a child process with limited
memory and time (probe.py). What passed is remembered by the times of its files, in the user's state folder,
so that the next opening costs a look-up. See docs/decisions/0007.
"""

import contextlib
import json
import os
import struct
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from indexes.errors import FormatError
from indexes.records.beauty import padded_width
from indexes.records.manifest import MANIFEST, FileRecord, sha256_bytes
from indexes.records.query_file import queries_record
from indexes.records.segments import IndexManifest
from indexes.records.shards import check_size

from .probe import probe

MANIFEST_MOST = 64 << 20  # bytes: a thousand bytes a segment make 60,000 segments
FOOTER_MOST = 64 << 20  # bytes of an Arrow or Parquet footer: it grows with the row groups, some 100 bytes each
REMEMBERED = 1000  # folders; the oldest are forgotten, and checked again when they are opened
MODES = "read", "mapped"  # FAISS reads a file in two ways, which fail differently
REMEDY = "Do not use it; get it again, or build it here."
# What FAISS calls an index on disk -> its kind: those that the factories make. Others (an index that refers
# to further files by path, say) are not read at all.
KINDS = {
    b"IxFI": "Flat",
    b"IxSQ": "SQ",
    b"IxPq": "PQ",
    b"IPfs": "PQ fast scan",
    b"Ixrq": "RaBitQ",
    b"Ixrr": "RaBitQ",
    b"IxPT": "a transform before another",
    b"IwFl": "IVF Flat",
    b"IwSq": "IVF SQ",
    b"IwPQ": "IVF PQ",
    b"IwPf": "IVF PQ fast scan",
    b"Iwrq": "IVF RaBitQ",
    b"Iwrr": "IVF RaBitQ",
    b"IHNf": "HNSW Flat",
    b"IHNs": "HNSW SQ",
}
FAISS_HEADER = struct.Struct("<4siqqqBi")  # kind, width, vectors, two unused, trained, metric
INNER_PRODUCT = 0


def admit(folder: str | Path, *, mapped: bool = False) -> bool:
    """Whether the folder had to be checked now; False where it is known. `mapped`: it will be opened by
    memory map.

    Raises FormatError with what is wrong. Reads all of an unknown folder once: some 1 GB/s, and half a second
    for the child process.
    """
    folder = Path(folder)
    mode = MODES[mapped]
    if mode in _known(folder):
        return False
    before = _signature(folder)
    check_files(folder)
    probe(folder, mapped)
    if _signature(folder) == before:  # else it is being written: checked again at the next opening
        _remember(folder, before, {mode} | _known(folder))
    return True


def remember(folder: str | Path) -> None:
    """Notes a folder that this program has just written whole, so that it opens unchecked; for writers of
    indexes, after the manifest.
    """
    folder = Path(folder)
    _remember(folder, _signature(folder), set(MODES))


def check_files(folder: Path) -> IndexManifest:
    """The manifest, when the files that it names lie in the folder and have their sizes and bounded, matching
    headers.

    Raises FormatError at the first thing that is wrong. Nothing is handed to FAISS or Arrow here.
    """
    manifest = manifest_of(folder)
    root = folder.resolve()
    for segment in manifest.segments:
        if not isinstance(segment.count, int) or segment.count < 0:
            raise _refused(folder, f"a segment of {segment.count!r} vectors")
        for record in segment.files:
            _check_record(folder, root, record)
    for scorer in manifest.scores:
        _check_record(folder, root, scorer.file)
        _check_arrow_header(folder / scorer.file.path)
    for segment in manifest.segments:
        scorers = len(manifest.in_index) if segment.beauty is not None else 0
        width = padded_width(manifest.dimension, scorers)
        _check_faiss_header(folder / segment.faiss.path, width, segment.count)
        for record in segment.files:
            if record != segment.faiss:
                _check_arrow_header(folder / record.path)
    queries = _queries(folder, manifest)
    if queries is not None:
        _check_record(folder, root, queries)
        _check_arrow_header(folder / queries.path)
    return manifest


def manifest_of(folder: Path) -> IndexManifest:
    """The manifest, of whatever content: raises FormatError, never anything else."""
    path = folder / MANIFEST
    if path.is_file() and path.stat().st_size > MANIFEST_MOST:
        raise _refused(path, f"{path.stat().st_size} bytes")
    try:
        return IndexManifest.read(folder)
    except (AttributeError, TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
        raise _refused(path, f"{type(error).__name__} {error}") from error


def _queries(folder: Path, manifest: IndexManifest) -> FileRecord | None:
    try:
        return queries_record(manifest.settings)
    except (AttributeError, TypeError, ValueError, KeyError, OverflowError) as error:
        raise _refused(folder / MANIFEST, f"queries: {type(error).__name__} {error}") from error


def _refused(where: Path, found: str) -> FormatError:
    return FormatError(f"{where}: {found}", "an index that beholder wrote", REMEDY)


def _check_record(folder: Path, root: Path, record: FileRecord) -> None:
    """A regular file inside the folder (also when links are followed), of the recorded size."""
    types = ((record.path, str), (record.bytes, int), (record.sha256, str))
    if not all(isinstance(value, wanted) for value, wanted in types) or "\0" in record.path:
        raise _refused(folder / MANIFEST, f"a record of a file that is none ({record!r})")
    try:
        inside = (folder / record.path).resolve().is_relative_to(root)
    except (OSError, RuntimeError) as error:  # a loop of links, a name too long
        raise _refused(folder / MANIFEST, f"the path {record.path[:80]!r}") from error
    if not inside:
        raise _refused(folder, f"{record.path} leads out of the folder")
    check_size(folder, record)


def _check_faiss_header(path: Path, dimension: int, count: int) -> None:
    with path.open("rb") as stream:
        start = stream.read(FAISS_HEADER.size)
    if len(start) < FAISS_HEADER.size:
        raise _refused(path, f"{len(start)} bytes")
    kind, width, vectors, _, _, trained, metric = FAISS_HEADER.unpack(start)
    if kind not in KINDS:
        raise _refused(path, f"a FAISS index of kind {kind!r}")
    if (width, vectors, trained, metric) != (dimension, count, 1, INNER_PRODUCT):
        found = f"a header of {vectors} vectors of width {width} (trained {trained}, metric {metric})"
        raise _refused(path, f"{found}, not {count} of width {dimension} by inner product")


def _check_arrow_header(path: Path) -> None:
    """The first and last bytes of an Arrow IPC or Parquet file, and the length of its footer."""
    magic = b"PAR1" if path.suffix == ".parquet" else b"ARROW1"
    with path.open("rb") as stream:
        start = stream.read(len(magic))
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 4 - len(magic)))
        end = stream.read()
    if start != magic or len(end) != 4 + len(magic) or end[4:] != magic:
        raise _refused(path, f"no {magic.decode()} file")
    (footer,) = struct.unpack("<i", end[:4])
    if not 0 < footer <= min(FOOTER_MOST, size - 2 * len(magic) - 4):
        raise _refused(path, f"a footer of {footer} bytes in {size}")


def _state() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "beholder" / "opened"


def _signature(folder: Path) -> dict[str, Any]:
    """What changes when a file of the folder changes: sizes, times and inode numbers. The change time (ctime)
    cannot be set back by whoever writes a file; that of the folder itself tells two folders apart.
    """
    files: dict[str, list[int]] = {}
    for path in _named(folder):
        try:
            entry = os.stat(folder / path)
        except (OSError, ValueError):  # missing or no path: the checks say what is wrong
            files[path] = []
            continue
        files[path] = [entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns, entry.st_ino]
    return files


def _named(folder: Path) -> Iterable[str]:
    """The manifest, the queries it was tuned with, and the files that it names (none where it is unreadable)."""
    yield MANIFEST
    with contextlib.suppress(FormatError):
        manifest = manifest_of(folder)
        queries = _queries(folder, manifest)
        if queries is not None:
            yield queries.path
        yield from (str(record.path) for record in manifest.files)


def _place(folder: Path) -> Path | None:
    """The note about a folder: named by its manifest's bytes and its inode, so a moved folder is known and a
    copied one is not.
    """
    try:
        entry, content = os.stat(folder), (folder / MANIFEST).read_bytes()
    except OSError:
        return None
    return _state() / f"{sha256_bytes(content)[:32]}-{entry.st_dev:x}-{entry.st_ino:x}.json"


def _known(folder: Path) -> set[str]:
    """The modes in which the folder was opened, as it is now."""
    place = _place(folder)
    if place is None or not place.is_file():
        return set()
    try:
        note = json.loads(place.read_bytes())
        return set(note["modes"]) if note["files"] == _signature(folder) else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()  # a note that was cut: the folder is checked, and the note written anew


def _remember(folder: Path, files: dict[str, Any], modes: set[str]) -> None:
    place = _place(folder)
    if place is None:
        return
    content = json.dumps({"files": files, "modes": sorted(modes)})
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = place.with_name(f".{place.name}.{os.getpid()}")
        temporary.write_text(content)
        os.replace(temporary, place)  # no fsync: a note that is lost costs a check
        _forget(place.parent)
    except OSError as error:
        warnings.warn(f"{place.parent} cannot be written ({error}): {folder} is checked at each opening", stacklevel=2)


def _forget(state: Path) -> None:
    notes = [(entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(state)]
    for _, path in sorted(notes)[:-REMEMBERED]:
        Path(path).unlink(missing_ok=True)
