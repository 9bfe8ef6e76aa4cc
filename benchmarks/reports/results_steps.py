"""What `bench results` runs, in order: each step is a command line that a user could type.

Everything is measured on pictures of `val` or `test` that nothing was trained on, and nothing here trains or chooses.
base: the encoder; aligned: checkpoints that stand beside it, each as a row of the same run where a verb takes several
encoders, else as a run of its own compared with the base.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCORER = "beholder-appeal"
BEAUTY, SHARE = "1", "0.5"  # of the sum and of rank-mix: what `search` takes where nothing else is said
FLICKR, LINKS, EMBEDDINGS, INDEX = "flickr8k/captions.tsv", "flickr8k-val", "flickr8k-val.emb", "flickr8k-val.index"


@dataclass(frozen=True)
class Step:
    """words: behind `beholder`. needs: what of the data it reads; without it the step is left out, and said to be.
    folder: what it prepares for later steps; "": it measures, and its run is written as --out. may_refuse: a run that
    ends with exit 1 (an unfit judge) is a result."""

    name: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    folder: str = ""
    may_refuse: bool = False


@dataclass(frozen=True)
class Places:
    """Where the steps read and write. data: the sets; work: what is made on the way; texts: queries, one a line;
    knowledge: the folder of queries.tsv and rewrites.tsv."""

    data: Path
    work: Path
    texts: Path
    knowledge: Path

    def of(self, name: str) -> str:
        return str(self.data / name)

    def made(self, name: str) -> str:
        return str(self.work / name)


def steps(places: Places, base: str, aligned: Sequence[str] = ()) -> list[Step]:
    """All steps, in their order."""
    model = ("--model", base)
    captions = places.of(FLICKR), "--splits", places.of("flickr8k/splits.tsv")
    pictures = ("--pictures", places.of("flickr8k/images"))
    stored = ("--embeddings", places.made(EMBEDDINGS))
    flickr = (FLICKR, "flickr8k/splits.tsv", "flickr8k/images")
    found = [
        Step(
            "embed",
            ("embed", places.made(LINKS), places.made(EMBEDDINGS), *model, "--score", SCORER),
            flickr,
            EMBEDDINGS,
        ),
        Step(
            "index", ("index", "build", places.made(EMBEDDINGS), places.made(INDEX), "--score", SCORER), flickr, INDEX
        ),
    ]

    # What aligning must not lose: each measure of the base, then of every aligned encoder against it.
    kept = {
        "captions": ((*captions, "--split", "val", *pictures, "--text-column", "caption", *stored), flickr),
        "objects": (
            (places.of("photoart/items.tsv"), "--label-column", "object,depiction", "--template",
             "a {object}, {depiction}", "--template", "{depiction} of a {object}", "--split", "val"),
            ("photoart/items.tsv",),
        ),
        "styles": (
            (places.of("peopleart/items.tsv"), "--label-column", "style", "--template", "{}", "--template",
             "{} painting", "--template", "a painting in the style of {}", "--split", "val"),
            ("peopleart/items.tsv",),
        ),
        "zero-shot": (
            (places.of("imagenet1000/items.tsv"), "--label-column", "name", "--split", "val", "--zero-shot"),
            ("imagenet1000/items.tsv",),
        ),
    }  # fmt: skip
    for name, (words, needs) in kept.items():
        found.append(Step(name, ("bench", "retrieval", *words, *model), needs))
        for other in aligned:
            compared = ("--model", other, "--compare", base)
            found.append(Step(beside(name, other), ("bench", "retrieval", *words, *compared), needs))

    # What people prefer.
    web, votes = "website/items.tsv", "website_pairs/pairs.tsv"
    found += [
        Step("make-hpir-web", ("bench", "hpir", "make", places.made("hpir-web"), "--scores", places.of(web),
             "--query", "a visually appealing web page", "--score-column", "mean_score"), (web,), "hpir-web"),
        Step("make-hpir-web-votes", ("bench", "hpir", "make", places.made("hpir-web-votes"), "--pairs",
             places.of(votes), "--query", "an attractive web page", "--test-share", "1"), (votes,), "hpir-web-votes"),
    ]  # fmt: skip
    encoders = [part for name in (base, *aligned) for part in ("--encoder", name)]
    cascade = ("--rerank", f"rank-mix:{SHARE}@{SCORER}", "--scorer", SCORER, "--beauty", BEAUTY)
    for name, folder, need in (("hpir-web", "website", web), ("hpir-web-votes", "website_pairs", votes)):
        shown = ("--pictures", places.of(f"{folder}/images"))
        ceiling = ("--scores", places.of("website_pairs/items.tsv"), "--score-column", "bradley_terry_score")
        more = ceiling if folder == "website_pairs" else ()
        found.append(
            Step(name, ("bench", "hpir", "score", places.made(name), *shown, *encoders, *cascade, *more), (need,))
        )
    for name, words in {
        "appeal-website": ("website", "--scorer", SCORER),
        "complexity-savoias": ("savoias", "--scorer", "complexity"),
    }.items():
        found.append(Step(name, ("bench", "aesthetics", *words), (f"{words[0]}/items.tsv",)))

    # What a look, and what beauty costs; what a judge would be asked.
    others = [part for name in aligned for part in ("--model", name)]
    val = (*captions, *pictures, *stored)
    swept = [part for b in ("0", BEAUTY, "2") for part in ("--beauty", b)]
    swept += [part for share in ("0", SHARE, "1") for part in ("--share", share)]
    preferred = ("--b", f'{{"beauty": {{"{SCORER}": {BEAUTY}}}}}')
    judge = ("bench", "judge", places.made(INDEX), str(places.texts))
    found += [
        Step("look", ("bench", "look", *val, "--base", base, *others), flickr),
        Step("beauty", ("bench", "pareto", *val, "--scorer", SCORER, *swept, *model), flickr),
        Step("judge", (*judge, *preferred), flickr, may_refuse=True),
    ]
    for other in aligned:
        found.append(Step(beside("judge", other), (*judge, "--model-b", other), flickr, may_refuse=True))
    queries = [str(places.knowledge / name) for name in ("queries.tsv", "rewrites.tsv")]
    tuned = [part for name in aligned for part in ("--aligned", name)]
    known = ("bench", "knowledge", "measure", places.of("peopleart/items.tsv"), *queries, *model, *tuned)
    found.append(Step("knowledge", known, ("peopleart/items.tsv",)))

    # How fast.
    speed = ("bench", "speed")
    found += [
        Step("speed-embed", (*speed, "embed", places.made(LINKS), "--limit", "192", *model), flickr),
        Step("speed-search", (*speed, "search", "--count", "100000", "--repeats", "3")),
        Step("speed-stages", (*speed, "search", "--index", places.made(INDEX), "--texts", str(places.texts), "--batch",
             "1", "--repeats", "3"), flickr),
    ]  # fmt: skip
    return found


def short(model: str) -> str:
    """A model's name as rows have it."""
    return Path(model).name


def beside(step: str, model: str) -> str:
    """The step that measures an aligned model where `step` measures the base."""
    return f"{step}-{short(model).lower()}"
