"""A made HPIR set on disk: a folder of test.jsonl, train.jsonl (where there is one) and manifest.json.

The files are HPIR sets as `retrieval/hpir.py` documents them. The manifest (kind beholder-hpir-set, format 1) says how
they were made and names the sha256 of every test picture, which training must not see. The same tables, options and
seed give the same bytes. A lone HPIR file, such as an export of the page, is read as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import MANIFEST, check_file, read_manifest, record_file, sha256_file, write_manifest
from indexes.records.manifest import write_bytes_atomic as write_bytes
from indexes.records.shards import file_record
from retrieval.hpir import HpirItem, hpir_lines, read_hpir

KIND, FORMAT = "beholder-hpir-set", 1
TEST, TRAIN = "test", "train"


@dataclass(frozen=True)
class HpirSet:
    """Items of one split, the digest of their file, and what the manifest says (nothing for a lone file)."""

    name: str
    items: tuple[HpirItem, ...]
    sha256: str
    made: Mapping[str, Any]


def pictures_of(items: Sequence[HpirItem]) -> list[str]:
    """The different sha256 of all pictures, sorted."""
    return sorted({sha256 for item in items for sha256 in (*item.group_a, *item.group_b)})


def write_set(folder: Path, splits: Mapping[str, Sequence[HpirItem]], made: Mapping[str, Any]) -> None:
    """Writes the splits that have items, then the manifest with `made`.

    Raises BeholderError without test items, or where a picture is in both splits: that would be a mistake of ours.
    """
    if not splits.get(TEST):
        raise BeholderError("no items for the test split", "at least one", "Check the split, the gap and the table.")
    test, train = pictures_of(splits[TEST]), pictures_of(splits.get(TRAIN, ()))
    shared = set(test) & set(train)
    if shared:
        raise BeholderError(f"{len(shared)} pictures are in train and in test", "none", "Please report this.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # an older set ends here, before its files change
    files = {}
    for split in (TEST, TRAIN):
        path = folder / f"{split}.jsonl"
        path.unlink(missing_ok=True)
        if splits.get(split):
            write_bytes(path, b"".join(hpir_lines(splits[split])))
            files[split] = vars(record_file(folder, path.name))
    counts = {f"{split}_items": len(splits.get(split, ())) for split in (TEST, TRAIN)}
    write_manifest(folder, KIND, FORMAT, {**made, **counts, "files": files, "test_pictures": test})


def read_set(path: Path, split: str = TEST) -> HpirSet:
    """A split of a made set, or a lone HPIR file.

    Raises FormatError for another kind, a damaged line or a split that the set has not; BeholderError for no items.
    """
    made: dict[str, Any] = {}
    file = path
    if path.is_dir():
        made = read_manifest(path, KIND, FORMAT)
        try:
            records = {name: file_record(record) for name, record in made["files"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{path / MANIFEST} is not whole ({error})", "a set's manifest", "Make it again."
            ) from error
        if split not in records:
            raise FormatError(f"{path} has no split {split}", " or ".join(records), "Choose another --split.")
        check_file(path, records[split])
        file = path / records[split].path
    items = read_hpir(file)
    if not items:
        raise BeholderError(f"{file} holds no items", "at least one", "Collect votes, or make the set again.")
    empty = next((item.qid for item in items if not item.group_a or not item.group_b), None)
    if empty is not None:
        raise FormatError(f"{file}: the item {empty} has an empty group", "pictures in both", "Export it again.")
    return HpirSet(path.stem if file is path else path.name, tuple(items), sha256_file(file), made)
