"""Protects the gallery page: what is passed in stays text, nothing is loaded, bad pictures are counted."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from indexes.errors import BeholderError
from retrieval.search.gallery import write_gallery
from retrieval.search.results import Result

EVIL = "\"><script>alert('x')</script><img src=http://evil.example/a onerror=alert(1)>&$title${note}"
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Elements as (tag, attributes), text by enclosing tag, and whether every element was closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str, **having: str) -> list[dict[str, str | None]]:
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and all(attributes.get(key) == value for key, value in having.items())
        ]


def result(uri: str, rank: int = 1, caption: str | None = None, relevance: float = 0.25) -> Result:
    return Result(rank, rank, uri, relevance, "0" * 64, 600, 400, caption)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    Image.new("RGB", (900, 600), (200, 120, 40)).save(folder / "wide.jpg")
    Image.new("RGB", (300, 900), (20, 80, 140)).save(folder / "sub" / "tall.png")
    Image.new("RGB", (4000, 200), (20, 80, 140)).save(folder / "panorama.png")
    (folder / "broken.jpg").write_bytes((folder / "wide.jpg").read_bytes()[:300])
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "secret.png")
    return folder


def test_every_query_caption_rank_and_relevance_is_shown(tmp_path: Path, pictures: Path) -> None:
    path = tmp_path / "deep" / "gallery.html"
    first = [result("wide.jpg", 1, "A dune", 0.4567), result("sub/tall.png", 2, None, 0.3)]
    size = write_gallery(path, [("sand", first), ("water", [])], pictures, title="Mine", note="two queries")
    page = Page(path)
    assert size == path.stat().st_size
    assert page.open == []
    assert [text for tag, text in page.text if tag == "h2"] == ["sand", "water"]
    assert [text for tag, text in page.text if tag in ("h1", "title")] == ["Mine", "Mine"]
    spans = [text for tag, text in page.text if tag == "span"]
    assert spans == ["2 pictures", "1", "A dune", "0.457", "2", "tall.png", "0.300", "0 pictures"]
    assert [image["alt"] for image in page.all("img")][:2] == ["A dune", "tall.png"]
    assert "No picture was found." in path.read_text()


def test_thumbnails_keep_their_shape_within_the_height(tmp_path: Path, pictures: Path) -> None:
    path = tmp_path / "gallery.html"
    uris = ["wide.jpg", "sub/tall.png", "panorama.png"]
    write_gallery(path, [("q", [result(uri, rank) for rank, uri in enumerate(uris, 1)])], pictures, thumbnail_px=100)
    sizes = []
    for image in Page(path).all("img")[:3]:
        jpeg = base64.b64decode(str(image["src"]).removeprefix("data:image/jpeg;base64,"), validate=True)
        opened = Image.open(io.BytesIO(jpeg))
        assert opened.format == "JPEG"
        assert (str(opened.width), str(opened.height)) == (image["width"], image["height"])
        sizes.append(opened.size)
    assert sizes == [(150, 100), (33, 100), (300, 15)]


def test_malicious_words_stay_words(tmp_path: Path, pictures: Path) -> None:
    Image.new("RGB", (8, 8)).save(pictures / "a.png")
    plain, evil = tmp_path / "plain.html", tmp_path / "evil.html"
    write_gallery(plain, [("q", [result("a.png", 1, "c"), result("n.png", 2, "c")])], pictures, note="n")
    hostile = [result("a.png", 1, EVIL), result(f"{EVIL}.png", 2, EVIL)]
    write_gallery(evil, [(EVIL, hostile)], pictures, title=EVIL, note=EVIL)
    expected, found = Page(plain), Page(evil)
    # The same elements with the same names of attributes: nothing that was passed in became markup.
    assert [(tag, sorted(names)) for tag, names in found.elements] == [
        (tag, sorted(names)) for tag, names in expected.elements
    ]
    assert EVIL in [text for tag, text in found.text if tag == "h2"]
    assert found.all("img")[0]["alt"] == EVIL


def test_the_page_loads_nothing_from_elsewhere(tmp_path: Path, pictures: Path) -> None:
    path = tmp_path / "gallery.html"
    write_gallery(path, [("one", [result("wide.jpg")]), ("two", [result("wide.jpg")])], pictures)
    page = Page(path)
    links = [
        str(attributes[name])
        for _, attributes in page.elements
        for name in ("src", "href", "srcset", "action", "data")
        if attributes.get(name)
    ]
    assert links
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in links)
    source = path.read_text()
    assert not re.search(r"https?:|@import|url\(|fetch\(|<link", source)
    assert "default-src 'none'" in str(page.all("meta")[-1]["content"])


def test_unreadable_pictures_become_boxes_and_are_counted(tmp_path: Path, pictures: Path) -> None:
    path = tmp_path / "gallery.html"
    uris = ["wide.jpg", "gone.jpg", "broken.jpg", "../secret.png", str(tmp_path / "secret.png"), "nul\0.jpg"]
    write_gallery(path, [("q", [result(uri, rank) for rank, uri in enumerate(uris, 1)])], pictures)
    page = Page(path)
    assert len(page.all("figure")) == 6
    assert len(page.all("button", type="button")) == 2  # one picture, and the dialog's own
    assert len(page.all("div", role="img")) == 5
    assert "5 pictures could not be read." in path.read_text()


def test_the_same_call_writes_the_same_bytes(tmp_path: Path, pictures: Path) -> None:
    paths = [tmp_path / "1.html", tmp_path / "2.html"]
    for path in paths:
        write_gallery(path, [("q", [result("wide.jpg"), result("sub/tall.png", 2)])], pictures)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_lone_surrogate_in_a_query_is_written_as_a_question_mark(tmp_path: Path, pictures: Path) -> None:
    path = tmp_path / "gallery.html"
    write_gallery(path, [("caf\udce9", [result("wide.jpg")])], pictures)
    assert "caf?" in path.read_text(encoding="utf-8")


def test_a_path_that_cannot_be_written_is_one_clear_line(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BeholderError, match="cannot write"):
        write_gallery(tmp_path / "file" / "gallery.html", [("q", [])], pictures)
    with pytest.raises(BeholderError, match="thumbnail_px is 3"):
        write_gallery(tmp_path / "gallery.html", [("q", [])], pictures, thumbnail_px=3)
