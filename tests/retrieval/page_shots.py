"""Makes the documents' pictures of the page, over the sample pictures: python -m tests.retrieval.page_shots FOLDER
[CRITIC].

FOLDER is filled with embeddings, scores and an index of retrieval/samples; docs/page-search.jpg and docs/page-taste.jpg
are written, and with a critic docs/page-why.jpg alone: what it says is its own. Needs Chromium.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.conftest import ROOT
from tests.retrieval.browser import FLAGS, SAMPLES, chromium, serving

PATIENCE_MS = 300_000  # a critic is loaded with its first question
SCORERS = ("beholder-appeal", "saturation", "colourfulness", "warmth", "brightness", "complexity")


def make_index(folder: Path) -> Path:
    """The index of the samples with all scorers, by the commands of the guide."""
    embeddings, index = folder / "samples.emb", folder / "samples.index"
    if not (index / "manifest.json").exists():
        scores = [f"--score={name}" for name in SCORERS]
        for command in (
            ["embed", SAMPLES, embeddings, f"--captions={SAMPLES / 'SOURCES.tsv'}", *scores],
            ["index", "build", embeddings, index, *scores, "--default-scorer=beholder-appeal"],
        ):
            subprocess.run([sys.executable, "-m", "retrieval", *map(str, command)], cwd=ROOT, check=True)
    return index


def shoot(page: Any, name: str, quality: int = 86) -> None:
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1200)  # until pictures have glided and faded in
    page.screenshot(path=ROOT / "docs" / name, type="jpeg", quality=quality)


def shoot_why(folder: Path, critic: str) -> None:
    """What a critic says of a picture in the viewer; ends with an error where it says nothing."""
    index = make_index(folder)
    votes = folder / "votes.jsonl"
    with serving(f"samples={index}", "--votes", votes, "--critic", critic) as address, sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{address}/?q=sunset over the water")
        page.locator("#pictures img.there").first.wait_for()
        page.locator("#pictures .open").first.click()
        page.keyboard.press("w")
        page.locator(".why blockquote").wait_for()
        shoot(page, "page-why.jpg", quality=80)


def main(folder: Path) -> None:
    index = make_index(folder)
    with serving(f"samples={index}", "--votes", folder / "votes.jsonl") as address, sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium(), args=FLAGS)
        size = {"viewport": {"width": 1440, "height": 900}}
        page = browser.new_page(**size)
        for _ in range(3):  # the first answers load the encoder
            page.goto(f"{address}/?q=portrait of a woman&beauty=warmth:0.5")
            page.wait_for_load_state("networkidle")
        page.locator("#words").blur()
        shoot(page, "page-search.jpg")
        page = browser.new_page(**size, color_scheme="dark")
        page.goto(f"{address}/?q=sunset over the water")
        page.get_by_role("button", name="Compare").click()
        page.get_by_role("button", name="Vote blind").click()
        page.locator(".question").first.wait_for()
        page.locator("body").press("1")
        shoot(page, "page-taste.jpg")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        shoot_why(Path(sys.argv[1]), sys.argv[2])
    else:
        main(Path(sys.argv[1]))
