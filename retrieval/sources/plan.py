"""What an embedding run has to do, and what of it is done: the state that makes `embed` resumable.

`plan.json` is written once when a run starts and lists its units; `parts/<unit>.json` is written when a unit is done;
both go when the manifest is written. A unit embeds new pictures or copies the rows of a shard that lost some. Shard
files are never rewritten: an open reader, and the old manifest, stay valid until the new manifest replaces it.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from indexes.errors import BeholderError
from indexes.records.manifest import MANIFEST, check_file, publish, sha256_file, write_json_atomic
from indexes.records.shards import ITEM_COLUMNS, EmbeddingsManifest, ShardRecord, read_items

from .archives import Columns
from .sources import Source, Uris, digests, stamp

# name -> (bytes, mtime in ns) of each picture's file and each archive, as they were when they were embedded or compared
Seen = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Unit:
    """One shard to write: of the pictures `uris`, or of the rows of shard `copy_of` whose uri is not in `uris`."""

    number: int
    uris: tuple[str, ...]
    copy_of: int | None = None


@dataclass(frozen=True)
class Part:
    """A unit that is done. `shard` is None where no row was left to write."""

    shard: ShardRecord | None
    rejected: list[list[str]]  # [uri, reason]
    seen: dict[str, list[int]]

    @classmethod
    def read(cls, path: Path) -> "Part":
        content = json.loads(path.read_bytes())
        shard = content["shard"]
        return cls(ShardRecord.from_dict(shard) if shard else None, content["rejected"], content["seen"])


@dataclass(frozen=True)
class Plan:
    """One run over a source: the units in order, and counts for the report."""

    base: str  # sha256 of the manifest it starts from; "" for a new folder
    settings: dict[str, Any]
    units: tuple[Unit, ...]
    rejected: tuple[tuple[str, str], ...]  # by the listing
    listed: int
    new: int
    changed: int
    removed: int
    columns: Columns = field(default_factory=dict)  # what the source carries, with types
    checked: dict[str, list[int]] = field(default_factory=dict)  # as Seen, of what was compared and is unchanged
    notes: tuple[str, ...] = ()  # by the listing

    def to_dict(self) -> dict[str, Any]:
        units = [[unit.number, list(unit.uris), unit.copy_of] for unit in self.units]
        return {**vars(self), "units": units}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Plan":
        units = tuple(Unit(number, tuple(uris), copy_of) for number, uris, copy_of in content["units"])
        rejected = tuple((uri, reason) for uri, reason in content["rejected"])
        notes = tuple(content.get("notes", ()))
        return cls(**{**content, "units": units, "rejected": rejected, "notes": notes})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One writer per folder. Raises BeholderError while another process writes."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BeholderError(f"another run is writing {folder}", "one at a time", "Wait for it.") from error
        yield


def open_plan(source: Source, folder: Path, settings: dict[str, Any], shard_size: int) -> tuple[Plan, bool]:
    """The plan to carry out, and whether it goes on with an interrupted run.

    Raises BeholderError where the folder's interrupted run had other settings (they decide the bytes).
    """
    path, base = folder / "plan.json", manifest_digest(folder)
    if path.is_file():
        plan = Plan.from_dict(json.loads(path.read_bytes()))
        if plan.base == base:
            if plan.settings != settings:
                other = ", ".join(
                    f"{key} {plan.settings.get(key)!r}" for key in settings if plan.settings.get(key) != settings[key]
                )
                raise BeholderError(
                    f"{folder} holds an interrupted run with {other}",
                    "the same call",
                    "Repeat it, or use a new folder.",
                )
            return plan, True
        finish(folder)  # that run wrote its manifest and was killed while cleaning up
    plan = _make_plan(source, folder, settings, shard_size, base)
    if plan.units:
        (folder / "parts").mkdir(exist_ok=True)
        write_json_atomic(path, plan.to_dict())
    return plan, False


def _make_plan(source: Source, folder: Path, settings: dict[str, Any], shard_size: int, base: str) -> Plan:
    manifest = EmbeddingsManifest.read(folder) if base else None
    listing = source.listing(_columns(folder, manifest))
    comparison = Comparison(source.root, read_seen(folder) if manifest else {}, listing.uris, listing.unread)
    kept: set[str] = set()
    units: list[Unit] = []
    changed = removed = staying = 0
    number = 1 + max((shard.number for shard in manifest.shards), default=-1) if manifest else 0
    present = set(listing.uris)
    for shard in manifest.shards if manifest else ():
        items = read_items(folder / shard.items.path).select(["uri", "bytes", "sha256"]).to_pylist()
        lost = []
        for item in items:
            if item["uri"] not in present and item["uri"].startswith(listing.unread):
                staying += 1
            elif item["uri"] not in present:
                removed += 1
                lost.append(item["uri"])
            elif comparison.is_changed(item):
                changed += 1
                lost.append(item["uri"])
            else:
                kept.add(item["uri"])
        if lost:
            units.append(Unit(number, tuple(lost), shard.number))
            number += 1
    if staying:
        listing.notes.append(f"{staying} pictures stay as they were: the archive or folder they are in cannot be read")
    new = [uri for uri in listing.uris if uri not in kept]
    for start in range(0, len(new), shard_size):
        units.append(Unit(number, tuple(new[start : start + shard_size])))
        number += 1
    return Plan(
        base,
        settings,
        tuple(units),
        tuple(listing.rejected),
        listed=len(listing.uris) + len(listing.rejected),
        new=len(new) - changed,
        changed=changed,
        removed=removed,
        columns=listing.columns,
        checked={name: list(seen) for name, seen in comparison.checked.items()},
        notes=tuple(listing.notes),
    )


def _columns(folder: Path, manifest: EmbeddingsManifest | None) -> Columns:
    """The carried columns of the shards that are there: types stay what they are."""
    found: Columns = {}
    for shard in manifest.shards if manifest else ():
        schema = pq.read_schema(str(folder / shard.items.path))
        found |= {entry.name: str(entry.type) for entry in schema if entry.name not in ITEM_COLUMNS.names}
    return found


class Comparison:
    """Tells changed pictures by size and time, and where only the time differs by content. An archive whose size and
    time are as they were is unchanged; else its pictures are read and compared."""

    def __init__(self, root: Path, seen: Seen, listed: list[str], unread: tuple[str, ...] = ()) -> None:
        self.root, self.seen, self.unread = root, seen, unread
        self.places = Uris(root)
        self._listed = {
            name: list(uris) for name, uris in groupby(listed, lambda uri: self.places.split(uri)[0]) if name
        }
        self.checked: Seen = {}
        self._digests: dict[str, Mapping[str, str] | None] = {}

    def is_changed(self, item: Mapping[str, Any]) -> bool:
        archive, _ = self.places.split(item["uri"])
        if archive:
            found = self._of_archive(archive)
            if found is None or (item["uri"] not in found and item["uri"].startswith(self.unread)):
                return False
            return bool(found.get(item["uri"]) != item["sha256"])
        path = self.root / item["uri"]
        now = stamp(path)
        if now[0] != int(item["bytes"]):
            return True
        if self.seen.get(item["uri"]) == now:
            return False
        if sha256_file(path) != item["sha256"]:
            return True
        self.checked[item["uri"]] = now
        return False

    def _of_archive(self, archive: str) -> Mapping[str, str] | None:
        """None for an archive that is as it was, else the digests of its pictures by uri."""
        if archive not in self._digests:
            now = stamp(self.root / archive)
            self.checked[archive] = now
            same = self.seen.get(archive) == now
            self._digests[archive] = None if same else digests(self.root, self._listed[archive])
        return self._digests[archive]


def manifest_digest(folder: Path) -> str:
    return sha256_file(folder / MANIFEST) if (folder / MANIFEST).is_file() else ""


def read_part(folder: Path, unit: Unit) -> Part | None:
    """The finished unit, or None where it has to be done (again)."""
    path = folder / "parts" / f"{unit.number:05d}.json"
    if not path.is_file():
        return None
    part = Part.read(path)
    if part.shard is not None:
        check_file(folder, part.shard.vectors)
        check_file(folder, part.shard.items)
    return part


def write_part(folder: Path, unit: Unit, part: Part) -> None:
    shard = None if part.shard is None else _shard_dict(part.shard)
    content = {"shard": shard, "rejected": part.rejected, "seen": part.seen}
    write_json_atomic(folder / "parts" / f"{unit.number:05d}.json", content)


def _shard_dict(shard: ShardRecord) -> dict[str, Any]:
    return {**vars(shard), "vectors": vars(shard.vectors), "items": vars(shard.items)}


def read_seen(folder: Path) -> Seen:
    """Sizes and times of what was embedded: a cache beside the manifest, which only saves reading files again."""
    path = folder / "seen.parquet"
    if not path.is_file():
        return {}
    table = pq.read_table(str(path)).to_pydict()
    return {uri: (size, time) for uri, size, time in zip(table["uri"], table["bytes"], table["mtime_ns"], strict=True)}


def write_seen(folder: Path, seen: Seen) -> None:
    rows = sorted(seen.items())
    table = pa.table(
        {
            "uri": pa.array([uri for uri, _ in rows], pa.string()),
            "bytes": pa.array([size for _, (size, _) in rows], pa.int64()),
            "mtime_ns": pa.array([time for _, (_, time) in rows], pa.int64()),
        }
    )
    temporary = folder / ".seen.parquet.tmp"
    pq.write_table(table, str(temporary))
    publish(temporary, folder / "seen.parquet")


def agreed(claims: Iterable[Mapping[str, Sequence[int]]]) -> Seen:
    """What all that saw a file say of it; of one that changed during the run nothing, so that the next run looks."""
    found: Seen = {}
    differing = set()
    for claim in claims:
        for name, (size, mtime_ns) in claim.items():
            if found.setdefault(name, (size, mtime_ns)) != (size, mtime_ns):
                differing.add(name)
    return {name: seen for name, seen in found.items() if name not in differing}


def abandon(folder: Path) -> None:
    """Removes a plan that must not be carried out, and what was done of it."""
    (folder / "plan.json").unlink(missing_ok=True)
    _clear_parts(folder)


def finish(folder: Path) -> None:
    """Removes what a finished run leaves: parts, the plan, shards that the manifest no longer names."""
    _clear_parts(folder)
    manifest = EmbeddingsManifest.read(folder)
    named = {file.path for shard in manifest.shards for file in (shard.vectors, shard.items)}
    for place in ("shards", "items"):
        for file in (folder / place).glob("*"):
            if f"{place}/{file.name}" not in named:
                file.unlink()
    (folder / "plan.json").unlink(missing_ok=True)


def _clear_parts(folder: Path) -> None:
    for part in (folder / "parts").glob("*.json"):
        part.unlink()
    if (folder / "parts").is_dir():
        (folder / "parts").rmdir()


def merged(old: Iterable[ShardRecord], plan: Plan, new: list[ShardRecord]) -> tuple[ShardRecord, ...]:
    """The shards after a plan: those that were copied leave, the new ones follow in order."""
    copied = {unit.copy_of for unit in plan.units if unit.copy_of is not None}
    kept = [shard for shard in old if shard.number not in copied]
    return tuple(sorted([*kept, *new], key=lambda shard: shard.number))


def relative(path: Path, start: Path) -> str:
    """`path` as seen from `start`, with /: folders that move together keep working."""
    return Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()
