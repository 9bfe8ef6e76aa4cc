"""Files that go wrong in the likeliest ways, for every verb of `bench`: wrong (no text at all), empty (a head and no
rows), one (a single row), ties (all scores or rows alike), missing (pictures that are not there)."""

from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from retrieval.hpir import HpirItem, hpir_lines

KINDS = "wrong", "empty", "one", "ties", "missing"
COUNT = 24  # pictures: bench look wants twenty


def write_bad(folder: Path) -> None:
    """pictures/ and, for each kind, KIND/ with a table of each sort beside links to the pictures."""
    (folder / "pictures").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number:02d}.png")
    for kind in KINDS:
        _write(folder, folder / kind, kind)


def _write(folder: Path, place: Path, kind: str) -> None:
    place.mkdir()
    names = [f"{number:02d}.png" for number in range({"empty": 0, "one": 1}.get(kind, COUNT))]
    for name in names:
        (place / name).symlink_to(folder / "pictures" / name)
    if kind == "missing":
        names = [f"gone-{name}" for name in names]
    alike, some = kind == "ties", kind != "empty"
    splits = ["val" if number < COUNT - 4 else "dev" if number % 2 else "train" for number in range(len(names))]
    captions = ["a dog" if alike else f"a dog, number {number}" for number in range(len(names))]
    pairs = list(zip(names, names[1:] or ["01.png"], strict=False))
    tables = {
        "captions.tsv": ("image\tcaption\tsplit", zip(names, captions, splits, strict=True)),
        "labels.tsv": (
            "file\tstyle\tsplit\tartist",
            ((name, "Cubism" if alike or number % 2 == 0 else "Pop", "val", "x") for number, name in enumerate(names)),
        ),
        "scores.tsv": ("file\tscore\tsplit", ((name, alike or n, "test") for n, name in enumerate(names))),
        "pairs.tsv": ("file_1\tfile_2\twins_1\twins_2", ((*pair, 1, int(alike)) for pair in pairs)),
        "rewrites.tsv": ("query\trewrite\tnamed", [("many sides at once", "a cubist painting", "cubism")] * some),
        "knowledge.tsv": ("style\tphrasing\tquery", [("Cubism", 1, "many sides at once")] * some),
    }
    if kind == "one":
        (place / "01.png").symlink_to(folder / "pictures" / "01.png")
    for name, (head, rows) in tables.items():
        lines = [head, *("\t".join(str(int(cell) if cell is True else cell) for cell in row) for row in rows)]
        (place / name).write_text("\n".join(lines) + "\n")
    (place / "queries.txt").write_text("a dog\n" * {"empty": 0, "one": 1}.get(kind, 4))
    if kind != "missing":
        (place / "run.json").write_text("{}")
    digests = [sha256((folder / "pictures" / name).read_bytes()).hexdigest() for name in ("00.png", "01.png")]
    if kind == "missing":
        digests = ["0" * 64, "1" * 64]
    votes = {"aesthetics": ("a", "b") if alike else ("a", None), "accuracy": (None,) * 2, "diversity": (None,) * 2}
    unknown = (None, None)
    item = HpirItem("0" * 64, "a dog", {"text": ["a dog"]}, *((one,) for one in digests), (), votes, unknown, unknown)
    (place / "set.jsonl").write_bytes(b"".join(hpir_lines([item] * some)))
    if kind == "wrong":
        for path in [*place.glob("*.tsv"), *place.glob("*.txt"), *place.glob("*.json*")]:
            path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\x00")
        for path in place.glob("*.png"):
            path.unlink()
            path.write_bytes(b"no picture")
