"""Arms: what each way of rewriting does to 200 queries, and whether the controls that add nothing gain nothing.

Answers of a language model to the prompts of the paper's arms (2406.09397; wording ours) were recorded for the queries
of `bench look`, for captions of photographs and for the queries of two sets of web pages. They are made into queries as
the arms make them, and nothing is trained. The captions themselves are read from the data; what was recorded is kept by
the picture's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measures.metrics import hit_rate, ranked_hits
from benchmarks.measures.stats import bootstrap_mean, paired_difference
from benchmarks.runs import Number, Run, command_of, describe_machine
from benchmarks.tables.judgements import read_tsv
from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from retrieval.encoding.encoder import Encoder
from retrieval.encoding.encoders import load_encoder
from retrieval.rewriting.arms import ASPECTS, load_arm
from retrieval.rewriting.rewrite import load_rewriter
from retrieval.rewriting.rewriter import Rewrite

from .flickr import NAME, read_gallery
from .look_data import Measured, Words
from .people_choices import agreement_number, right_of
from .people_data import SCORED, VOTED, Pages, voted_pages
from .places import Places, data_folder
from .steps import Say, Steps, option

PAGES = {SCORED: "pages: pairs of 98", VOTED: "pages: votes"}
ARMS = "detail", "k-list", "kw-dict", "reorg"  # that ask a model
OFFLINE = "suffix", "repeat"
CONTROLS = "repeat", "reorg"
SETS = "look", "captions", "pages"
HITS = (1, 10)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ArmsExperiment:
    """Options of `align experiment arms`."""

    run: Path
    data: Path | None = option(None, "Folder of the sets; default: $BEHOLDER_DATA.")
    embeddings: Path | None = option(None, "Folder of NAME.emb of the sets, made where missing; default: RUN/emb.")
    answers: Path = option(Path("docs/experiments/arms/answers.tsv"), "Recorded answers of the arms that ask a model.")
    model: str = option("beholder-mini", "Encoder.")
    name: str = option("experiment-arms", "Of the run.")


@dataclass(frozen=True)
class Asked:
    """A query of a set, and the answers to it by arm; `picture`: of a caption."""

    kind: str
    query: str
    picture: str
    answers: Mapping[str, Any]


def read_answers(path: Path, captions: Mapping[str, str]) -> list[Asked]:
    """`captions`: by the picture's name. Raises BeholderError for another set, or a caption that is not there."""
    found = []
    for row in read_tsv(path, ("set", "key", *ARMS)):
        kind, key = row["set"], row["key"]
        if kind not in SETS:
            raise BeholderError(f"{path.name} has the set {kind!r}", ", ".join(SETS), "Mend the table.")
        if kind == "captions" and key not in captions:
            raise BeholderError(f"there is no caption of {key}", "pictures of val", "Check the data.")
        aspects = dict(zip(ASPECTS, ([part] for part in _parts(row["kw-dict"])), strict=True))
        answers = {
            "detail": {"query": row["detail"]},
            "k-list": {"elements": _parts(row["k-list"])},
            "kw-dict": aspects,
            "reorg": {"query": row["reorg"]},
        }
        caption = kind == "captions"
        found.append(Asked(kind, captions[key] if caption else key, key if caption else "", answers))
    return found


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(";")]


def rewritten(arm: str, asked: Sequence[Asked], encoder: Encoder, folder: Path) -> list[Rewrite]:
    """What an arm makes of the queries, through the checks that every rewrite passes."""
    queries = [one.query for one in asked]
    if arm not in ARMS:
        return load_rewriter(arm, encoder=encoder).rewrite(queries)
    compose = load_arm(arm).compose
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / f"{arm}.tsv"
    lines = [f"{' '.join(one.query.split())}\t{compose(one.query, one.answers[arm]).text}" for one in asked]
    table.write_text("\n".join(["query\trewrite", *lines]) + "\n", encoding="utf-8")
    return load_rewriter(f"file:{table}", encoder=encoder).rewrite(queries)


def measure(config: ArmsExperiment, say: Say = lambda line: None) -> Run:
    """What each arm of rewriting does to look, captions and pages, beside the controls.

    Example: beholder align experiment arms work/arms --data ../shared/data
    """
    places = Places(data_folder(config.data), config.embeddings or config.run / "emb", load_encoder(config.model), say)
    record = places.encoder.record
    own = {"answers": sha256_file(config.answers), "base": [record.image_fingerprint, record.text_fingerprint]}
    found = Steps(config.run, say, 1).do("arms", own, lambda: _measured(config, places))
    return Run(
        name=config.name,
        command=command_of("align experiment arms", config),
        machine=describe_machine(),
        seed=0,
        data={
            **own,
            "encoder": Path(record.name).name,
            "image_fingerprint": record.image_fingerprint,
            "text_fingerprint": record.text_fingerprint,
        },
        numbers={name: Number(**one) for name, one in found.items()},
        notes=(
            "72 queries of `bench look` and 126 captions over the 1,000 photographs of val, two queries over web "
            "pages; changes are paired with the query as typed, by query (by page). repeat and reorg are controls: "
            "they add nothing.",
        ),
    )


def _measured(config: ArmsExperiment, places: Places) -> dict[str, Any]:
    gallery = read_gallery(places, "val", ())
    names, base = places.data / NAME / "captions.tsv", places.encoder
    captions: dict[str, str] = {}
    for row in read_tsv(names, ("image", "caption")):
        captions.setdefault(row["image"], row["caption"])
    asked = read_answers(config.answers, {name: captions[name] for name in gallery.files})
    rows = {kind: [place for place, one in enumerate(asked) if one.kind == kind] for kind in SETS}
    look = Measured(places, "val", Words.read(None, dev=False))
    if [asked[place].query for place in rows["look"]] != [one.query for one in look.words.asked]:
        raise BeholderError("the answers are of other words", "those of bench look, in their order", "Record again.")
    seats = {name: place for place, name in enumerate(gallery.files)}
    own = np.zeros((len(rows["captions"]), len(gallery.files)), bool)
    for at, place in enumerate(rows["captions"]):
        own[at, seats[asked[place].picture]] = True
    pages = Pages.read(places.data, "test")
    voted, votes = voted_pages(places.data)
    shown = {SCORED: places.vectors(SCORED, pages.files), VOTED: places.vectors(VOTED, voted)}
    truths = {SCORED: pages.chosen(), VOTED: votes}

    def values(texts: Sequence[str]) -> tuple[dict[str, Floats], dict[str, Any]]:
        vectors = base.encode_texts(list(texts))
        found = look.of(vectors[rows["look"]] @ look.vectors.T)
        hits = ranked_hits(vectors[rows["captions"]] @ gallery.vectors.T, own, max(HITS))
        per_query = {"look: percentile": found.percentile, "look: subject": found.subject}
        per_query |= {f"captions: hit_rate@{k}": np.asarray(hit_rate(hits, k), np.float64) for k in HITS}
        return per_query, {name: right_of(vectors[rows["pages"]] @ shown[name].T) for name in shown}

    before, right = values([one.query for one in asked])
    numbers = {f"{what}: as typed": Number.of(bootstrap_mean(one, seed=0)) for what, one in before.items()}
    for name, truth in truths.items():
        numbers[f"{PAGES[name]}: as typed"] = agreement_number(right[name], truth, seed=0)
    for arm in (*OFFLINE, *ARMS):
        made = rewritten(arm, asked, base, config.run / "tables")
        after, mine = values([one.text for one in made])
        for what, one in after.items():
            numbers[f"{what}: change by {arm}"] = Number.of(paired_difference(one, before[what], seed=0))
        for name, truth in truths.items():
            numbers[f"{PAGES[name]}: change by {arm}"] = agreement_number(mine[name], truth, seed=0, less=right[name])
        numbers[f"over-long: {arm}"] = Number(float(np.mean([one.truncated for one in made])), n=len(made))
        numbers[f"kept as typed: {arm}"] = Number(float(np.mean([bool(one.fallback) for one in made])), n=len(made))
    return {name: asdict(one) for name, one in numbers.items()}
