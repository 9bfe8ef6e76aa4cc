"""`align compare`: rows of both encoders on one page; mistakes are one line."""

import shutil
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "retrieval" / "samples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, beholder):
    place = tmp_path_factory.mktemp("compare")
    (place / "pictures").mkdir()
    for picture in sorted(SAMPLES.glob("*.jpg"))[::10]:
        shutil.copy(picture, place / "pictures" / picture.name)
    beholder(*["embed", "pictures", "p.emb"], cwd=place)
    beholder(*["index", "build", "p.emb", "p.index"], cwd=place)
    (place / "queries.txt").write_text("a boat\nflowers\n")
    return place


def test_rows_stand_one_above_the_other(folder, beholder):
    arguments = (
        "beholder-mini beholder-mini --index p.index --queries queries.txt --html out.html -k 3 --rewrite repeat"
    )
    done = beholder("align", "compare", *arguments.split(), cwd=folder)
    assert "aligned: 100% of the base's pictures, over 2 queries" in done.stdout
    page = (folder / "out.html").read_text()
    titles = [f"{text}: {name}" for text in ("a boat", "flowers") for name in ("base", "base, rewritten", "aligned")]
    places = [page.index(f">{title}</h2>") for title in titles]
    assert places == sorted(places)
    assert page.count("<figure") == 18


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("beholder-mini beholder-mini --index p.index --queries queries.txt --html o.html", "twice"),
        ("beholder-mini nothing-here --index p.index --queries queries.txt --html o.html", "nothing-here"),
        ("beholder-mini other --index none.index --queries queries.txt --html o.html", "none.index"),
    ],
)
def test_mistakes_are_one_line(folder, beholder, arguments, message):
    done = beholder("align", "compare", *arguments.split(), cwd=folder, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
