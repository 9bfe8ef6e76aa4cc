"""Tables of pictures as training examples: a picture's path, what may be said of it, and which pictures share
that.

Readers of caption tables, and plain phrasings for tables of style, artist, object and class.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables.caption_files import PUBLISHED, caption_file
from benchmarks.tables.terms import refuse_training, terms_of
from indexes.errors import BeholderError, FormatError


@dataclass(frozen=True)
class Example:
    """A picture, its captions (at least one), and the key it shares with pictures of the very same label."""

    picture: Path
    captions: tuple[str, ...]
    key: str


# The adjective of a style where it is not the lower-cased name; `items.tsv` writes some names without spaces.
ADJECTIVES = {
    "Academicism": "academic",
    "AnalyticalRealism": "analytical realist",
    "ArtDeco": "art deco",
    "ArtNouveau(Modern)": "art nouveau",
    "Classicism": "classicist",
    "Constructivism": "constructivist",
    "Cubism": "cubist",
    "Cubo-Futurism": "cubo-futurist",
    "Divisionism": "divisionist",
    "FantasticRealism": "fantastic realist",
    "FeministArt": "feminist art",
    "HighRenaissance": "high renaissance",
    "Impressionism": "impressionist",
    "InternationalGothic": "international gothic",
    "Japonism": "japonist",
    "MagicRealism": "magic realist",
    "MechanisticCubism": "mechanistic cubist",
    "Muralism": "muralist",
    "Naturalism": "naturalist",
    "Neo-baroque": "neo-baroque",
    "NewEuropeanPainting": "new european",
    "NorthernRenaissance": "northern renaissance",
    "Outsiderart": "outsider art",
    "Photorealism": "photorealist",
    "PopArt": "pop art",
    "PosterArtRealism": "realist poster art",
    "ProtoRenaissance": "proto renaissance",
    "Realism": "realist",
    "SocialistRealism": "socialist realist",
    "Suprematism": "suprematist",
    "Symbolism": "symbolist",
    "Synthetism": "synthetist",
    "Tonalism": "tonalist",
}


def with_article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def style_name(style: str) -> str:
    """The name as words: `ArtNouveau(Modern)` is "art nouveau", `HighRenaissance` "high renaissance"."""
    plain = "".join(f" {c}" if c.isupper() else c for c in style.partition("(")[0]).lower()
    return " ".join(plain.replace("- ", "-").split())


def style_phrasings(style: str, artist: str = "", title: str = "", person: bool = False) -> tuple[str, ...]:
    """Plain sentences for a picture of a style; `photo` and `cartoon` are no kinds of painting."""
    if style in ("photo", "cartoon"):
        phrasings = [
            style,
            with_article(style),
            f"{with_article(style)} of people" if person else f"this is a {style}",
        ]
        return tuple(phrasings)
    name, adjective = style_name(style), ADJECTIVES.get(style, style_name(style))
    phrasings = [
        f"{with_article(adjective)} painting",
        f"{with_article(adjective)} artwork",
        f"{name} painting",
        f"a painting in the style of {name}",
        name,
    ]
    if person:
        phrasings.append(f"{with_article(adjective)} painting of people")
    if artist:
        phrasings.append(f"{with_article(adjective)} painting by {artist}")
    if title and artist:
        phrasings.append(f"{title} by {artist}, {name}")
    return tuple(phrasings)


def object_phrasings(name: str, depiction: str) -> tuple[str, ...]:
    """Plain sentences for an object shown in a photograph (`photo`) or in a drawing or painting (`art`)."""
    thing = with_article(name)
    if depiction == "photo":
        return (
            f"a photo of {thing}",
            f"a photograph of {thing}",
            f"photo of {name}",
            thing,
            f"{thing}, photo",
        )
    return (
        f"a painting of {thing}",
        f"a drawing of {thing}",
        f"an illustration of {thing}",
        f"{thing}, art",
        f"artwork showing {thing}",
    )


def class_phrasings(name: str) -> tuple[str, ...]:
    thing = with_article(name)
    return (f"a photo of {thing}", thing, name, f"a picture of {thing}", f"a close-up photo of {thing}")


def read_tsv(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Rows of a UTF-8 table with a header, tab separated, no quoting. Raises FormatError without file or
    columns.
    """
    if not path.is_file():
        raise FormatError(f"there is no table {path}", "a tab-separated table with a header", "Check the path.")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        missing = [column for column in columns if column not in (rows.fieldnames or ())]
        if missing:
            raise FormatError(
                f"{path} has no column {', '.join(missing)}",
                f"a header with {', '.join(columns)}",
                f"It has {', '.join(rows.fieldnames or ['nothing'])}.",
            )
        yield from rows


def caption_table(path: Path, pictures: Path | None = None) -> list[Example]:
    """Examples of any table with the columns `image` and `caption`; rows of one image are its captions.

    Names are relative to `pictures`, by default the table's folder. Raises FormatError for a table without
    rows.
    """
    return _examples(read_tsv(path, ("image", "caption")), path, pictures)


def published_captions(path: Path, split: str) -> list[Example]:
    """Examples of a caption file as its makers publish it: those of the split where the file says it, else all. `train`
    is what may be trained on (COCO's restval too, as in papers), `dev` is Karpathy's val."""
    terms = terms_of(path)
    wanted = {"train": terms.trained if terms else ("train",), "dev": ("dev", "val")}.get(split, (split,))
    rows = [row for row in caption_file(path) if row.get("split", wanted[0]) in wanted]
    return _examples(rows, path) if rows else []


def _examples(rows: Iterable[Mapping[str, str]], path: Path, pictures: Path | None = None) -> list[Example]:
    captions: dict[str, list[str]] = {}
    for row in rows:
        captions.setdefault(row["image"], []).append(row["caption"])
    if not captions:
        raise FormatError(f"{path} has no rows", "at least one picture with a caption", "Check the table.")
    root = pictures or path.parent
    return [Example(root / name, tuple(said), f"picture:{name}") for name, said in captions.items()]


def flickr8k(folder: Path, split: str) -> list[Example]:
    wanted = {row["image"] for row in read_tsv(folder / "splits.tsv", ("image", "split")) if row["split"] == split}
    examples = caption_table(folder / "captions.tsv", folder / "images")
    return [example for example in examples if example.picture.name in wanted]


def peopleart(folder: Path, split: str) -> list[Example]:
    rows = read_tsv(folder / "items.tsv", ("file", "style", "split", "person_present", "artist", "title"))
    return [
        Example(
            folder / row["file"],
            style_phrasings(row["style"], row["artist"], row["title"], row["person_present"] == "yes"),
            f"style:{row['style']}",
        )
        for row in rows
        if row["split"] == split
    ]


def photoart(folder: Path, split: str) -> list[Example]:
    rows = read_tsv(folder / "items.tsv", ("file", "object", "depiction", "split"))
    return [
        Example(
            folder / row["file"],
            object_phrasings(row["object"], row["depiction"]),
            f"object:{row['object']}:{row['depiction']}",
        )
        for row in rows
        if row["split"] == split
    ]


def imagenet1000(folder: Path, split: str) -> list[Example]:
    rows = read_tsv(folder / "items.tsv", ("file", "class_index", "name", "split"))
    return [
        Example(folder / row["file"], class_phrasings(row["name"]), f"class:{row['class_index']}")
        for row in rows
        if row["split"] == split
    ]


SOURCES: dict[str, Callable[[Path, str], list[Example]]] = {
    "flickr8k": flickr8k,
    "peopleart": peopleart,
    "photoart": photoart,
    "imagenet1000": imagenet1000,
}


def read_source(name: str, root: Path, split: str) -> list[Example]:
    """Examples of one split of a source: a name of SOURCES under `root`, or the path of a caption table (.tsv, all
    rows) or of a published caption file (.json, .token).

    Raises BeholderError for another name, for a split without examples, and for training on what is kept for
    evaluation.
    """
    path = Path(name) if Path(name).is_absolute() else root / name
    if path.suffix in (".tsv", *PUBLISHED):
        if split == "train":
            refuse_training(path)
        examples = caption_table(path) if path.suffix == ".tsv" else published_captions(path, split)
    elif name in SOURCES:
        examples = SOURCES[name](root / name, split)
    else:
        found = f"there is no source {name!r}"
        raise BeholderError(found, f"{', '.join(SOURCES)} or a path ending in .tsv, .json or .token", "Check the name.")
    if not examples:
        raise BeholderError(f"{name} has no pictures in the split {split!r}", "train, dev or val", "Check the split.")
    return examples
