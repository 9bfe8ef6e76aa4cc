"""`bench judge`: two systems' best pictures for the same queries, row against row, before a judge that sees them.

Verdicts, order consistency and what can go wrong: `retrieval/language/judge.py`; rates: `rates.py`; controls, which run
by default and end the run with exit 1 when they fail: `controls.py`. The first line of the report says whether the
judge can be believed. Rows of the very same pictures are similar by definition and are not asked about.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.runs import Run, command_of, describe_machine, portable_spec
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.manifest import sha256_file
from retrieval.language.asking import AskSettings
from retrieval.language.judge import BLOCK, KINDS, Comparison, Verdict
from retrieval.progress import progress_line
from retrieval.search.results import Answer
from retrieval.search.searcher import Searcher, open_searcher

from .book import Book
from .controls import control_pairs
from .judges import load_judge
from .loaded import LoadedJudge
from .people import people_numbers, voted_items, voted_pairs
from .report import ROWS, SIMILAR, Report
from .rows import Pair, System, portable_search, read_queries, search_config

PEOPLE = "people"
Open = Callable[[Path, str | None, str], Searcher]


@dataclass(frozen=True)
class JudgeConfig:
    """Options of `bench judge`. System A is `index` with `a`, system B `index_b` (else `index`) with `b`."""

    index: Path
    queries: Path
    judge: str = "offline"
    index_b: Path | None = None
    a: str = "{}"  # search settings, JSON or a file of it
    b: str = "{}"
    model_a: str = ""
    model_b: str = ""
    top: int = 5  # pictures in a row
    kind: str = "ranker"
    no_controls: bool = False
    control_pairs: int = 60  # of the same system: two calls each
    votes: tuple[Path, ...] = ()  # HPIR sets
    pictures: tuple[Path, ...] = ()  # folders of the sets' pictures
    vote_items: int = 200
    answers: Path | None = None
    page: Path | None = None
    concurrency: int = 4
    timeout: float = 120.0  # seconds
    retries: int = 3
    max_requests: int = 0
    max_tokens: int = 0
    no_cache: bool = False
    seed: int = 0
    device: str = "cpu"
    name: str = "judge"

    def __post_init__(self) -> None:
        wrong = [
            f"--{name.replace('_', '-')} is {value} (at least {least})"
            for name, value, least in (
                ("top", self.top, 1),
                ("control_pairs", self.control_pairs, 1),
                ("vote_items", self.vote_items, 1),
                ("concurrency", self.concurrency, 1),
                ("retries", self.retries, 0),
                ("max_requests", self.max_requests, 0),
                ("max_tokens", self.max_tokens, 0),
            )
            if value < least
        ]
        if self.timeout <= 0:
            wrong.append(f"--timeout is {self.timeout} (more than 0 seconds)")
        if self.kind not in KINDS:
            wrong.append(f"--kind is {self.kind} ({', '.join(KINDS)})")
        if self.pictures and not self.votes:
            wrong.append("--pictures without --votes, whose pictures they would be")
        if wrong:
            raise BeholderError("; ".join(wrong), "", "See `beholder bench judge --help`.")

    @property
    def settings(self) -> AskSettings:
        return AskSettings(
            device=self.device,
            concurrency=self.concurrency,
            timeout_s=self.timeout,
            retries=self.retries,
            max_requests=self.max_requests,
            max_total_tokens=self.max_tokens,
            cache=None if self.no_cache else "",
        )


def measure(config: JudgeConfig, opened: Open | None = None) -> Run:
    """The run record; the page and the book of answers are written on the way. opened: (folder, model, device) ->
    Searcher, for callers that have their own encoder.

    Raises BeholderError where there is nothing to compare, ConditionFailed where the judge stopped half-way: a spent
    budget, a wrong key, nobody there.
    """
    queries, repeated = read_queries(config.queries)
    systems = _systems(config, opened or _open)
    judge = load_judge(config.judge, config.kind, config.settings)
    answers = [system.answers(queries, config.top) for system in systems]
    rows = [system.rows_of(given) for system, given in zip(systems, answers, strict=True)]
    asked = [Pair(query, a, b) for query, a, b in zip(queries, *rows, strict=True) if a.sha256s and b.sha256s]
    if not asked:
        raise BeholderError(f"no query of {config.queries.name} has results of both systems", "at least one")
    pairs = {ROWS: asked}
    if not config.no_controls:
        texts, best = [pair.query for pair in asked], [pair.a for pair in asked]
        pairs |= control_pairs(texts, best, systems, config.top, config.control_pairs)
    items, unfit_items = voted_items(config.votes, config.vote_items, config.seed) if config.votes else ([], 0)
    pairs[PEOPLE] = voted_pairs(items, [one.searcher.index for one in systems], config.pictures)
    with Book(config.answers, judge.decides) as book:
        verdicts, unread = _judged(judge, book, pairs)
    report = Report(judge, systems, verdicts, config.seed)
    report.left_out(
        (repeated, "repeated queries are asked once"),
        (len(queries) - len(asked), "queries left out: a system has no results for them"),
        (unread, "comparisons left out: a picture cannot be read"),
        (unfit_items, "voted items left out: their queries are not words, or nobody voted"),
        (_short(asked, config.top), f"rows have fewer than {config.top} pictures"),
        *(
            (_fallen(given), f"queries of {one.label} were not rewritten, and asked as they are")
            for one, given in zip(systems, answers, strict=True)
        ),
    )
    shown = [pair for pair, verdict in zip(asked, verdicts[ROWS], strict=True) if verdict is not None]
    report.rates([verdict for verdict in verdicts[ROWS] if verdict is not None], sum(pair.same for pair in shown))
    if not config.no_controls:
        report.controls(config.kind != "scorer")
    if items:
        judged = [(item, one) for item, one in zip(items, verdicts[PEOPLE], strict=True) if one is not None]
        report.numbers |= people_numbers([item for item, _ in judged], [one for _, one in judged], config.seed)
    run = _run(config, report, sha256_file(config.queries), len(shown))
    if config.page is not None:
        from .page import write_page

        write_page(config.page, run, shown, [one for one in verdicts[ROWS] if one is not None])
    return run


def check(run: Run) -> None:
    """Raises ConditionFailed where a control failed or the judge is unfit."""
    wrong = [*run.data["controls"]["failed"], *run.data["controls"]["unfit"]]
    if wrong:
        raise ConditionFailed(f"the judge cannot be believed: {'; '.join(wrong)}", "", "Choose another judge.")


def _open(folder: Path, model: str | None, device: str) -> Searcher:
    return open_searcher(folder, model, device=device)


def _systems(config: JudgeConfig, opened: Open) -> list[System]:
    folders = (config.index, config.model_a), (config.index_b or config.index, config.model_b)
    settings = [search_config(given, f"--{label}", config.top) for label, given in (("a", config.a), ("b", config.b))]
    if settings[0] == settings[1] and folders[0][0].resolve() == folders[1][0].resolve() and (
        config.model_a == config.model_b
    ):  # fmt: skip
        raise BeholderError(
            "both systems are the same", "another --index-b, --model-b or --b", """Example: --b '{"beauty": 1}'"""
        )
    searchers = {one: opened(one[0], one[1] or None, config.device) for one in dict.fromkeys(folders)}
    return [System(label, searchers[one], search) for label, one, search in zip("AB", folders, settings, strict=True)]


def _judged(
    judge: LoadedJudge, book: Book, pairs: dict[str, list[Pair]]
) -> tuple[dict[str, list[Verdict | None]], int]:
    """Verdicts of all pairs, None where a picture cannot be read; and how many such pairs there are."""
    flat = [pair for many in pairs.values() for pair in many]
    found: list[Verdict | None] = []
    unread = 0
    with progress_line("comparisons") as progress:
        for start in range(0, len(flat), BLOCK):
            block = flat[start : start + BLOCK]
            known = [SIMILAR if pair.same else book.get(pair) for pair in block]
            ask, shown = [], []
            for place, pair in enumerate(block):
                if known[place] is None:
                    try:
                        shown.append(Comparison(pair.query, pair.a.read(), pair.b.read()))
                        ask.append(place)
                    except BeholderError:  # counted, and said in a note
                        unread += 1
            said = judge.compares.compare(shown) if shown else []
            book.add([block[place] for place in ask], said)
            for place, verdict in zip(ask, said, strict=True):
                known[place] = verdict
            found += known
            stopped = next((verdict for verdict in said if verdict.hopeless), None)
            if stopped is not None:
                kept = sum(verdict is not None and not verdict.hopeless for verdict in found)
                where = f"kept in {book.path.name}" if book.path else "kept in the cache of answers"
                problem = f"the judge stopped ({stopped.problems[-1]}): {kept} of {len(flat)} comparisons are {where}"
                raise ConditionFailed(problem, "", "Run the same command again to go on.")
            progress(len(found), len(flat))
    parted, start = {}, 0
    for name, many in pairs.items():
        parted[name] = found[start : start + len(many)]
        start += len(many)
    return parted, unread


def _short(pairs: Sequence[Pair], top: int) -> int:
    return sum(len(row.sha256s) < top for pair in pairs for row in (pair.a, pair.b))


def _fallen(answers: Sequence[Answer]) -> int:
    """How many queries a rewriter could not rewrite."""
    return sum(any(rewrite.fallback for rewrite in answer.rewrites) for answer in answers)


def _run(config: JudgeConfig, report: Report, queries_sha256: str, judged: int) -> Run:
    kind = f", {config.kind}" if report.judge.calls else ""
    about = f"{judged:,} queries, rows of {config.top}; judge {report.judge.name}{kind}."
    notes = [f"{report.sides()} {about}", *report.notes, *report.warnings(config.judge)]
    data: dict[str, Any] = {
        "queries_sha256": queries_sha256,
        "systems": {one.label: one.described() for one in report.systems},
        "judge": dict(report.judge.decides),
        "counts": report.counts,
        "controls": {"ran": not config.no_controls, "failed": report.failed, "unfit": report.unfit},
    }
    plain = replace(config, judge=portable_spec(config.judge), a=portable_search(config.a), b=portable_search(config.b))
    command, machine = command_of("bench judge", plain), describe_machine(config.device)
    headline = report.headline(not config.no_controls)
    return Run(config.name, command, machine, config.seed, data, report.numbers, tuple(dict.fromkeys(notes)), headline)
