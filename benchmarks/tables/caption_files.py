"""Caption sets in the files that their makers publish -> rows of a caption table: image, caption and, where the file
says it, split.

- Karpathy's lists (dataset_flickr8k.json, dataset_flickr30k.json, dataset_coco.json; Karpathy and Fei-Fei, CVPR 2015):
  {"images": [{"filepath", "filename", "split", "sentences": [{"raw"}]}]}; `filepath` (COCO's) is the picture's folder.
- COCO's captions (captions_val2014.json; Chen et al. 2015): {"images": [{"id", "file_name"}], "annotations":
  [{"image_id", "caption"}]}, without splits.
- Flickr30k's captions (results_20130124.token; Young et al., TACL 2014): "NAME.jpg#0", a tab, the caption.

All captions of a picture are rows: papers that report on COCO's 5,000 take the first five of the few that have more.
Pictures without a caption have no row. Line breaks within a caption become spaces.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from indexes.errors import FormatError

from .judgements import read_tsv

IMAGE, CAPTION, SPLIT = "image", "caption", "split"
PUBLISHED = JSON, TOKEN = ".json", ".token"
REMEDY = "Check the path, or give a TSV with a row per picture and caption."
Rows = list[dict[str, str]]


def read_rows(path: Path, columns: Iterable[str]) -> Rows:
    """The rows of a table by its ending: a caption set's own file (.json, .token), else TSV as `read_tsv` has it.
    Raises FormatError that names the place."""
    if path.suffix.lower() not in PUBLISHED:
        return read_tsv(path, columns)
    rows = caption_file(path)
    for column in columns:
        if column not in rows[0]:
            raise FormatError(f"{path.name} has no column {column!r}", f"one of {', '.join(rows[0])}", "Name it.")
    return rows


def caption_file(path: Path) -> Rows:
    """The rows of a caption set's own file, at least one."""
    if not path.is_file():
        raise FormatError(f"there is no file {path}", "captions as JSON or .token", "Check the path.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path.name} is not UTF-8 ({error.reason})", "captions in UTF-8", REMEDY) from error
    rows = token_rows(text, path.name) if path.suffix.lower() == TOKEN else _json_rows(text, path.name)
    if not rows:
        raise FormatError(f"{path.name} has no captions", "at least one", REMEDY)
    return rows


def token_rows(text: str, name: str) -> Rows:
    """The rows of Flickr30k's (and Flickr8k's) lines NAME#NUMBER, tab, caption."""
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        key, tab, caption = line.rstrip("\r").partition("\t")
        image, hash_mark, _ = key.rpartition("#")
        if not tab or not hash_mark:
            raise FormatError(f"{name}, line {number}, is {line[:40]!r}", "NAME#NUMBER, a tab, the caption", REMEDY)
        rows.append({IMAGE: image, CAPTION: _words(caption)})
    return rows


def _json_rows(text: str, name: str) -> Rows:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{name} is not JSON ({error})", "Karpathy's or COCO's captions", REMEDY) from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise FormatError(f"{name} has no list 'images'", "Karpathy's or COCO's captions", REMEDY)
    if "annotations" in content:
        return _coco_rows(images, content["annotations"], name)
    rows = []
    for number, image in enumerate(images, 1):
        try:
            file = "/".join(part for part in (image.get("filepath", ""), image["filename"]) if part)
            captions = [_words(sentence["raw"]) for sentence in image["sentences"]]
            rows += [{IMAGE: file, CAPTION: caption, SPLIT: str(image["split"])} for caption in captions]
        except (KeyError, TypeError, AttributeError) as error:
            raise FormatError(f"{name}, picture {number}, lacks {error}", "Karpathy's captions", REMEDY) from error
    return rows


def _coco_rows(images: list[Any], annotations: list[Any], name: str) -> Rows:
    rows = []
    number = 0
    try:
        files = {image["id"]: str(image["file_name"]) for image in images}
        for annotation in annotations:
            number += 1
            rows.append({IMAGE: files[annotation["image_id"]], CAPTION: _words(annotation["caption"])})
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{name}, caption {number}, lacks {error}", "COCO's captions, pictures first", REMEDY
        ) from error
    return rows


def _words(caption: str) -> str:
    return " ".join(caption.split())
