"""Tars of pictures as webdataset and img2dataset write them: `key.jpg`, `key.txt` and `key.json` side by side.

A plain tar is read by its headers, and workers read the pictures at their offsets; a compressed one is streamed once
to list it and once to embed it. tarfile ends silently at a damaged header or a cut: here the end mark must be met.
"""

import json
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import pyarrow as pa

from .archives import CAPTIONS, MOST_BYTES, Columns, Members, Picture, absolute, carried, column_name, type_of
from .images import SUFFIXES

COMPRESSION = {
    ".tar": "",
    ".tar.gz": "gz",
    ".tgz": "gz",
    ".tar.bz2": "bz2",
    ".tar.xz": "xz",
    ".tar.zst": "zstd",
    ".tar.zstd": "zstd",
    ".tzst": "zstd",
}
DAMAGE = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, pa.ArrowException)
SIDECAR_BYTES = 1 << 20  # a text beside a picture that is longer is no caption
SAMPLED = 1000  # JSON files read to learn the types of columns


def is_tar_name(name: str) -> bool:
    return name.lower().endswith(tuple(COMPRESSION))


def _compression(path: Path) -> str:
    name = path.name.lower()
    return next(COMPRESSION[ending] for ending in sorted(COMPRESSION, key=len, reverse=True) if name.endswith(ending))


class _Damaged(Exception):
    """An archive that ends without its end mark; the text is the reason."""


class _Header(tarfile.TarInfo):
    """Notes on its TarFile whether the end mark was met, which tarfile itself forgets."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_Header":
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            archive.end_mark = True  # type: ignore[attr-defined]
            raise


class TarArchive:
    """A tar, plain or compressed (gz, bz2, xz, zst)."""

    def __init__(self, path: Path) -> None:
        self.path, self.compression = path, _compression(path)

    def _open(self) -> tarfile.TarFile:
        if self.compression == "zstd":
            stream = cast(IO[bytes], pa.input_stream(str(self.path), compression="zstd"))
            return tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header)
        if self.compression:
            return tarfile.open(self.path, f"r|{self.compression}", tarinfo=_Header)  # type: ignore[call-overload,no-any-return]
        return tarfile.open(self.path, "r:", tarinfo=_Header)

    def _entries(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        """The files in order. Raises _Damaged where the archive cannot be read to its end."""
        try:
            with self._open() as archive:
                while (entry := archive.next()) is not None:
                    archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header it has seen
                    if entry.isreg() and not PurePosixPath(entry.name).name.startswith("."):
                        yield archive, entry
                if not hasattr(archive, "end_mark"):
                    raise _Damaged("has no end mark: it was cut, or is damaged inside")
        except DAMAGE as error:
            raise _Damaged(f"cannot be read to its end ({type(error).__name__}: {error})") from error

    def members(self) -> Members:
        found, seen = Members(), set()
        try:
            for _, entry in self._entries():
                if not _is_picture(entry.name):
                    continue
                if entry.name in seen:
                    found.rejected.append((entry.name, "a name that the archive holds already"))
                elif entry.size > MOST_BYTES:
                    found.rejected.append((entry.name, f"{entry.size:,} bytes, more than {MOST_BYTES:,}"))
                elif not _is_text(entry.name):
                    found.rejected.append((entry.name.encode(errors="backslashreplace").decode(), "name is not UTF-8"))
                else:
                    found.names.append(entry.name)
                    seen.add(entry.name)
        except _Damaged as error:
            found.rejected.append(("", str(error)))
        return found

    def columns(self) -> Columns:
        """By the JSON files of the first pictures."""
        values: dict[str, list[Any]] = {}
        try:
            for count, (_, side) in enumerate(self._samples(lambda name: False)):
                for name, value in side.items():
                    values.setdefault(name, []).append(value)
                if count == SAMPLED:
                    break
        except _Damaged:
            pass  # members() has said so
        names = [name for name in values if name not in CAPTIONS and column_name(name)]
        found = {column_name(name): type_of(values[name]) for name in names}
        return found | ({"captions": "string"} if any(type_is_list(values.get(name)) for name in CAPTIONS) else {})

    def folders(self) -> list[Path]:
        return []

    def pictures(self, names: Sequence[str], root: Path) -> Iterator[Picture]:
        wanted = set(names)
        try:
            for found, side in self._samples(wanted.__contains__):
                for picture in found:
                    if picture.uri in wanted:  # the first of a name counts
                        wanted.remove(picture.uri)
                        yield replace(picture, carried=carried(side))
                if not wanted:
                    return
            reason = "is not in the archive any more"
        except _Damaged as error:
            reason = f"the archive {error}"
        yield from (Picture(name, reason=reason) for name in names if name in wanted)

    def _samples(self, wanted: Any) -> Iterator[tuple[list[Picture], dict[str, Any]]]:
        """Pictures that share a key, with what the texts beside them say; of those not wanted no bytes are read."""
        key = ""
        found: list[Picture] = []
        side: dict[str, Any] = {}
        damage = None
        try:
            for archive, entry in self._entries():
                own = _key(entry.name)
                if own != key:
                    if found:
                        yield found, side
                    key, found, side = own, [], {}
                if _is_picture(entry.name):
                    found.append(self._picture(archive, entry, wanted(entry.name)))
                elif entry.size <= SIDECAR_BYTES:
                    side |= _texts(archive, entry)
        except _Damaged as error:
            damage = error  # after what was read whole
        if found:
            yield found, side
        if damage is not None:
            raise damage

    def _picture(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, wanted: bool) -> Picture:
        if entry.issparse():
            return Picture(entry.name, reason="a sparse file")
        if not self.compression:
            return Picture(entry.name, absolute(self.path), entry.offset_data, entry.size)
        if not wanted or entry.size > MOST_BYTES:
            return Picture(entry.name)
        return Picture(entry.name, content=_content(archive, entry))


def type_is_list(values: list[Any] | None) -> bool:
    return any(isinstance(value, list) for value in values or ())


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _is_text(name: str) -> bool:
    return name.encode(errors="replace").decode() == name and "\0" not in name


def _key(name: str) -> str:
    """webdataset's: the path up to the first dot of the file's name."""
    path = PurePosixPath(name)
    return f"{path.parent}/{path.name.partition('.')[0]}"


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(entry)
    return b"" if stream is None else stream.read()


def _texts(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> dict[str, Any]:
    """{"txt": ...}, {"cls": ...} or the values of a JSON object; {} of anything else."""
    ending = PurePosixPath(entry.name).suffix.lower()
    if ending not in (".txt", ".caption", ".cls", ".json"):
        return {}
    text = _content(archive, entry).decode(errors="replace")
    if ending != ".json":
        return {"cls" if ending == ".cls" else "txt": text.strip()}
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {"json_error": "not JSON"}  # the picture is good: what is wrong with its text is a column to look at
    return values if isinstance(values, dict) else {"json": values}
