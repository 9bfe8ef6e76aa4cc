"""Tiny sets in the layout of the data folder: pages with scores and choices, photographs with captions, objects."""

from pathlib import Path

import numpy as np
from PIL import Image
from tiny import WORDS


def make_sets(data: Path) -> Path:
    generator = np.random.default_rng(0)

    def picture(path: Path) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((48, 36)).save(path)
        return path.name

    rows = ["file\tmean_score\tsplit"]
    for number in range(32):
        name = picture(data / "website" / "images" / f"{number:02}.png")
        rows.append(f"images/{name}\t{generator.uniform(1, 9):.3f}\t{'train' if number < 24 else 'test'}")
    (data / "website" / "items.tsv").write_text("\n".join(rows) + "\n")

    names = [f"images/{picture(data / 'website_pairs' / 'images' / f'{number}.png')}" for number in range(6)]
    rows = ["file_1\tfile_2\twins_1\twins_2"]
    rows += [f"{one}\t{two}\t{place % 2}\t{1 + place % 3}" for place, one in enumerate(names) for two in names[:place]]
    (data / "website_pairs" / "pairs.tsv").write_text("\n".join(rows) + "\n")

    captions, splits = ["image\tcaption"], ["image\tsplit"]
    for number in range(60):
        name = picture(data / "flickr8k" / "images" / f"{number:02}.png")
        subject = ("dog", "beach")[number % 2]  # of the lists in the box
        captions += [f"{name}\t{' '.join(generator.choice(WORDS, 4))} {subject}" for _ in range(2)]
        splits.append(f"{name}\t{'train' if number < 36 else 'dev' if number < 48 else 'val'}")
    (data / "flickr8k" / "captions.tsv").write_text("\n".join(captions) + "\n")
    (data / "flickr8k" / "splits.tsv").write_text("\n".join(splits) + "\n")

    rows = ["file\tobject\tdepiction\tsplit"]
    for number in range(16):
        name = picture(data / "photoart" / "images" / f"{number}.png")
        labels = f"{('thing', 'square')[number % 2]}\t{('photo', 'art')[number // 2 % 2]}"
        rows.append(f"images/{name}\t{labels}\t{'val' if number < 8 else 'train'}")
    (data / "photoart" / "items.tsv").write_text("\n".join(rows) + "\n")
    return data
