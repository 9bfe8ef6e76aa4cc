"""Sources of pictures: folders, tars, Parquet files, datasets on disk; what a name or a pattern of them means.

A source has a root folder, and each of its pictures a uri under it: the path of a file, or `path/of/archive#member`,
where the member is a name in a tar or the number of a row. Root and uri alone lead back to the bytes.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from indexes.errors import BeholderError

from .archives import Archive, Columns, Picture, content_of
from .images import SUFFIXES, UNREAD_FOLDER, list_pictures
from .patterns import expand, gaps, is_pattern, is_spelled_out, literal_folder

EXPECTED = "a folder of pictures, tars, Parquet files or a Hugging Face dataset on disk"


@dataclass(frozen=True)
class Listing:
    """The pictures of a source in order: names sorted, within an archive as they lie there."""

    uris: list[str]
    rejected: list[tuple[str, str]]  # name, reason
    notes: list[str]  # what a reader of the report should know
    columns: Columns  # what the source carries beside captions
    unread: tuple[str, ...] = ()  # starts of uris of which some may be there, but could not be listed


@dataclass(frozen=True)
class Source:
    """Where pictures come from. `archives` are paths under root; None: the picture files under root."""

    root: Path
    archives: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()  # as given, under root: what an interrupted run compares
    notes: tuple[str, ...] = ()

    def listing(self, known: Columns | None = None) -> Listing:
        """Reads directories and the headers of archives. `known` columns keep their types."""
        if self.archives is None:
            uris, rejected = list_pictures(self.root)
            unread = [name for name, reason in rejected if reason.startswith(UNREAD_FOLDER)]
            starts = tuple("" if name == "." else name for name in unread)
            return Listing(uris, rejected, list(self.notes), dict(known or {}), starts)
        uris, rejected, notes, unread = [], [], list(self.notes), []
        columns: Columns = {}
        empty = 0
        for number, name in enumerate(self.archives):
            archive = open_archive(self.root / name)
            members = archive.members()
            uris += [f"{name}#{member}" for member in members.names]
            rejected += [(f"{name}#{member}" if member else name, reason) for member, reason in members.rejected]
            if members.skipped:
                notes.append(f"{name}: {members.skipped} rows hold no picture")
            unread += [f"{name}#" for member, _ in members.rejected if not member]
            empty += not members.names
            if number == 0:
                columns = archive.columns()
        if empty:
            notes.append(f"{empty} of {len(self.archives)} archives hold no picture")
        return Listing(uris, rejected, notes, {**columns, **(known or {})}, tuple(unread))


def find_source(names: str | Path | Sequence[str | Path], old_root: Path | None = None) -> Source:
    """What names or patterns (`shards/{00000..00009}.tar`, `shards/*.tar`) mean.

    old_root: root of the same source in an earlier run, resolved; kept where the archives lie under it: uris stay.
    Raises BeholderError for what is not there, a pattern that matches nothing, or a range with missing files.
    """
    given = [os.fspath(name) for name in ([names] if isinstance(names, str | Path) else names)]
    if not given:
        raise BeholderError("no source", EXPECTED, "Name one.")
    if len(given) == 1 and Path(given[0]).is_dir():
        found = _of_folder(Path(given[0]))
        return found if found.archives is None else _rooted(found, old_root)
    paths: list[Path] = []
    loose: list[Path] = []  # whatever was there: braces say which numbers they mean
    folders, notes = [], []
    for name in given:
        if is_pattern(name) and not Path(name).exists():
            matched = expand(name)
            notes += [f"{name} matches one file only"] if len(matched) == 1 else []
            folders.append(literal_folder(name))
        else:
            matched = [Path(name)]
            folders.append(Path(name).parent)
        loose += [] if is_spelled_out(name) else matched
        paths += matched
    for path in paths:
        if not path.exists():
            raise BeholderError(f"there is no folder {path} and no such file", EXPECTED, "Check the path.")
        if not is_archive(path):
            raise BeholderError(
                f"{path} is no archive that can be read",
                "a folder, or .tar, .tar.gz, .tgz, .tar.zst or .parquet files",
                "Name those.",
            )
    if len(set(paths)) != len(paths):
        raise BeholderError(f"{given} name an archive twice", "each once", "Name it once.")
    root = Path(os.path.commonpath([folder.absolute() for folder in folders]))
    archives = sorted(_under(path, root) for path in paths)
    notes += gaps([_under(path, root) for path in loose])
    shown = tuple(_under(Path(name), root) for name in given)
    return _rooted(Source(root, tuple(archives), shown, tuple(notes)), old_root)


def _under(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path.absolute(), root)).as_posix()


def _of_folder(folder: Path) -> Source:
    """A dataset on disk, pictures, or where there are none of those the archives in it."""
    from .dataset import is_dataset, splits

    names = splits(folder)
    if names:
        return Source(folder, tuple(names), (".",))
    if is_dataset(folder):
        folder = folder.absolute()
        return Source(folder.parent, (folder.name,), (folder.name,))
    archives, pictures = _look(folder)
    if pictures or not archives:
        notes = (f"{len(archives)} archives beside the pictures were left aside; name them to embed them",)
        return Source(folder, notes=notes if archives and pictures else ())
    return Source(folder, tuple(archives), (".",), tuple(gaps(archives)))


def _look(folder: Path) -> tuple[list[str], bool]:
    """Sorted paths under the folder of its tars, else of its Parquet files (beside tars those are img2dataset's
    metadata, which the tars hold too), and whether there is a picture."""
    every, pictures = [], False
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.startswith("."):
                continue
            if is_archive_name(name):
                every.append(Path(place, name))
            pictures = pictures or os.path.splitext(name)[1].lower() in SUFFIXES
    tars = [path for path in every if path.suffix != ".parquet"]
    return sorted(path.relative_to(folder).as_posix() for path in tars or every), pictures


def _rooted(source: Source, old_root: Path | None) -> Source:
    """The same archives seen from a root that their pictures lie under: an earlier run's where that serves."""
    here = source.root.resolve()
    archives = source.archives or ()
    outside = [folder for name in archives for folder in open_archive(here / name).folders()]
    wide = Path(os.path.commonpath([here, *outside]))
    if old_root is not None and wide.is_relative_to(old_root):
        wide = old_root
    if wide == here:
        return source
    moved = tuple(Path(os.path.relpath(here / name, wide)).as_posix() for name in archives)
    return Source(wide, moved, source.names, source.notes)


def is_archive_name(name: str) -> bool:
    from .tars import is_tar_name

    return is_tar_name(name) or name.lower().endswith(".parquet")


def is_archive(path: Path) -> bool:
    from .dataset import is_dataset

    return path.is_file() if is_archive_name(path.name) else is_dataset(path)


def open_archive(path: Path) -> Archive:
    """The reader of a tar, a Parquet file or a dataset on disk (a folder)."""
    from .dataset import DatasetArchive
    from .parquet import ParquetArchive
    from .tars import TarArchive, is_tar_name

    if path.is_dir():
        return DatasetArchive(path)
    return TarArchive(path) if is_tar_name(path.name) else ParquetArchive(path)


class Uris:
    """Which uris under a root lie in which archive; asks the disk once per archive."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, bool] = {}

    def split(self, uri: str) -> tuple[str, str]:
        """(archive, member), or ("", uri) of a plain file: a # may stand in a file's name too."""
        at = uri.find("#")
        while at > 0:
            name = uri[:at]
            if name not in self._known:
                self._known[name] = is_archive(self.root / name)
            if self._known[name]:
                return name, uri[at + 1 :]
            at = uri.find("#", at + 1)
        return "", uri

    def archives(self, uris: Iterable[str]) -> list[str]:
        """The archives that hold some of the uris, each once, in order."""
        return list(dict.fromkeys(name for name, _ in map(self.split, uris) if name))


def stamp(path: Path) -> tuple[int, int]:
    """Size and modification time in ns: of a dataset on disk those of its state, which every save rewrites."""
    status = (path / "state.json" if path.is_dir() else path).stat()
    return status.st_size, status.st_mtime_ns


def pictures(root: Path, uris: Sequence[str]) -> Iterator[Picture]:
    """One Picture per uri, in order; each run of uris in one archive reads that archive once."""
    places = Uris(root)
    for name, group in groupby(map(places.split, uris), key=lambda pair: pair[0]):
        members = [member for _, member in group]
        if not name:
            yield from (Picture(uri, os.fspath(root / uri)) for uri in members)
            continue
        for picture in open_archive(root / name).pictures(members, root):
            yield picture.named(f"{name}#{picture.uri}")


def contents(root: Path, uris: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
    """The bytes behind each different uri, archive by archive; None where they are gone or would lie outside root."""
    inside = [uri for uri in dict.fromkeys(uris) if stays_inside(uri)]
    for picture in pictures(root, sorted(inside, key=lambda uri: Uris(root).split(uri)[0])):
        try:
            yield picture.uri, content_of(picture)
        except (OSError, ValueError):  # ValueError: a uri with a null byte
            yield picture.uri, None


def stays_inside(uri: str) -> bool:
    """Whether a uri, which a folder from a stranger may hold, leads to a place under its root."""
    path = PurePosixPath(uri)
    return not path.is_absolute() and ".." not in path.parts


def digests(root: Path, uris: Sequence[str]) -> Mapping[str, str]:
    """uri -> sha256 of the pictures' files; those that cannot be read are missing."""
    found = {}
    for picture in pictures(root, uris):
        try:
            found[picture.uri] = hashlib.sha256(content_of(picture)).hexdigest()
        except (OSError, ValueError):
            continue  # counted as changed: embedding it again will say why it cannot be read
    return found
