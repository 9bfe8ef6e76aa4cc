"""`align preferences`: options -> lists from the cascade or from people -> a table, and a page of them to look at."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from indexes.errors import BeholderError, ConditionFailed

if TYPE_CHECKING:
    from indexes.searching.search import Index
    from rl.preferences import PreferenceList

SHOWN = "id", "uri", "sha256", "width", "height", "caption"


def preferences(
    out: Annotated[Path, typer.Argument(help="Table to write (Parquet).")],
    index: Annotated[Path, typer.Option(help="INDEX folder that holds the pictures.")],
    queries: Annotated[Path | None, typer.Option(help="From the cascade: file of queries, one per line.")] = None,
    scorer: Annotated[
        list[str] | None,
        typer.Option(
            help="Of the aesthetic order: NAME or NAME:WEIGHT (repeatable). None, with -v 1: semantics alone."
        ),
    ] = None,
    rewrite: Annotated[str, typer.Option(help="Rewriter, as `beholder search --rewrite` takes it.")] = "none",
    rows: Annotated[int, typer.Option("-u", help="Rows of the grid: levels of the mixed order.")] = 5,
    columns: Annotated[int, typer.Option("-v", help="Columns: levels of aesthetics within a row.")] = 5,
    stride: Annotated[int, typer.Option(help="Between the picks from the re-ranked list.")] = 10,
    depth: Annotated[int, typer.Option(help="Pictures that are re-ranked; 0: as many as the grid needs.")] = 0,
    mix: Annotated[float, typer.Option(help="Share of aesthetics in the re-ranked order.")] = 0.5,
    pairs: Annotated[str, typer.Option(help="rows-then-columns, product or rows.")] = "rows-then-columns",
    random: Annotated[int, typer.Option(help="Pictures drawn at random, below every one of the grid.")] = 0,
    where: Annotated[str | None, typer.Option(help="Only pictures for which this holds.")] = None,
    model: Annotated[str | None, typer.Option(help="Encoder of the teacher, where not the index's own.")] = None,
    from_scores: Annotated[Path | None, typer.Option(help="TSV of pictures and people's scores.")] = None,
    from_pairs: Annotated[Path | None, typer.Option(help="TSV of choices: file_1, file_2, wins_1, wins_2.")] = None,
    from_votes: Annotated[Path | None, typer.Option(help="Set in HPIR's format, as the page exports it.")] = None,
    from_ranked: Annotated[Path | None, typer.Option(help="Rows in the style of ImageReward or HPDv2.")] = None,
    score_column: Annotated[str, typer.Option(help="Of --from-scores.")] = "mean_score",
    file_column: Annotated[str, typer.Option(help="Of --from-scores.")] = "file",
    split: Annotated[str | None, typer.Option(help="Only rows whose column split says this.")] = None,
    phrasing: Annotated[
        list[str] | None, typer.Option(help="The query of people's scores and choices (repeatable: they take turns).")
    ] = None,
    aspect: Annotated[str, typer.Option(help="Of votes: accuracy, aesthetics or diversity.")] = "aesthetics",
    length: Annotated[int, typer.Option(help="Pictures in a list of scores.")] = 16,
    lists: Annotated[int, typer.Option(help="How many lists of scores.")] = 256,
    gap: Annotated[float, typer.Option(help="Scores must differ by more than this to be a pair.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the lists of scores, and of --random.")] = 0,
    exclude: Annotated[
        list[Path] | None, typer.Option(help="File of sha256 that no list may hold, beside the shipped ones.")
    ] = None,
    show: Annotated[int, typer.Option(help="Write a page of so many lists to OUT.html.")] = 0,
) -> None:
    """Write down which pictures are preferred for which query, for `align train`.

    Example: beholder align preferences lists.parquet --index pictures.index --queries queries.txt --scorer
    colourfulness --rewrite template --show 5

    Example: beholder align preferences lists.parquet --index pictures.index --queries queries.txt -u 25 -v 1 --rewrite
    llm:MODEL@URL#detail

    Example: beholder align preferences pages.parquet --index pages.index --from-scores website/items.tsv --split train
    --phrasing "a beautiful web page"
    """
    from indexes.searching.search import load_index
    from rl.preferences import read_preferences, refuse_evaluation, write_preferences

    sources = [queries, from_scores, from_pairs, from_votes, from_ranked]
    if sum(source is not None for source in sources) != 1:
        raise BeholderError(
            f"{sum(source is not None for source in sources)} sources",
            "one of --queries, --from-scores, --from-pairs, --from-votes, --from-ranked",
            "Example: --queries queries.txt --scorer colourfulness",
        )
    from benchmarks.tables.terms import refuse_training

    refuse_training(next(source for source in sources if source is not None), split)
    evaluation = _evaluation(exclude or [])
    rejected: Counter[str] = Counter()
    if queries is not None:
        from rl.grids import VARIANTS

        from .cascade import CascadeConfig

        if pairs not in VARIANTS:
            raise BeholderError(f"--pairs {pairs}", ", ".join(VARIANTS))
        scorers = tuple(_weighted(given) for given in scorer or [])
        shape = (rows, columns, stride, depth, mix, pairs)
        config = CascadeConfig(scorers, rewrite, *shape, where, random, seed)  # type: ignore[arg-type]
        found = _from_cascade(out, index, queries, config, model, evaluation, rejected)
    else:
        opened = load_index(index)
        by = _People(opened, _finder(opened), tuple(phrasing or ()), rejected)
        if from_scores is not None:
            made = by.scores(from_scores, file_column, score_column, split, length, lists, gap, seed)
        elif from_pairs is not None:
            made = by.pairs(from_pairs)
        elif from_votes is not None:
            made = by.votes(from_votes, aspect)
        else:
            made = by.ranked(from_ranked or Path())
        kept = list(made)
        refuse_evaluation(kept, evaluation)
        if not kept:
            told = ", ".join(f"{count} {reason}" for reason, count in rejected.items()) or "no pair"
            raise ConditionFailed(f"no list could be made ({told})", "one at least", "Check table, split and index.")
        source = next(source for source in sources if source is not None)
        encoder = opened.manifest.encoder
        origin = {"made": source.name, "image_fingerprint": encoder.image_fingerprint, "rejected": dict(rejected)}
        write_preferences(out, kept, origin)
        found = tuple(kept)
    count = sum(len(one.better) for one in found)
    print(f"{out}: {len(found)} lists, {count} pairs, {len({p for one in found for p in one.pictures})} pictures")
    for reason, number in sorted((+rejected).items()):
        print(f"left out: {number} {reason}")
    if show:
        page = out.with_suffix(".html")
        _show(page, load_index(index), read_preferences(out).lists[:show], columns if queries is not None else 0)
        print(f"page: {page}")


def _from_cascade(
    out: Path,
    index: Path,
    queries: Path,
    config: Any,
    model: str | None,
    evaluation: set[str],
    rejected: Counter[str],
) -> "tuple[PreferenceList, ...]":
    from retrieval.progress import progress_line
    from retrieval.search.query_file import read_queries
    from retrieval.search.searcher import open_searcher
    from rl.preferences import read_preferences

    from .cascade import Cascade

    searcher = open_searcher(index, model)
    held = evaluation.intersection(searcher.index.items_table().column("sha256").to_pylist())
    if held:
        raise BeholderError(
            f"{index} holds {len(held)} pictures that are kept for evaluation",
            "training pictures only",
            "Build an index of these: beholder index remove --where, or embed a folder without them.",
        )
    cascade = Cascade(searcher, config)
    with progress_line("queries") as progress:
        cascade.write(out, read_queries(queries), progress)
    rejected.update(cascade.rejected)
    return read_preferences(out).lists


@dataclass(frozen=True)
class _People:
    """Readers of what people said, over the pictures of an index."""

    index: "Index"
    find: Callable[[str], str | None]
    phrasings: tuple[str, ...]
    rejected: Counter[str]

    def scores(
        self,
        table: Path,
        file_column: str,
        score_column: str,
        split: str | None,
        length: int,
        lists: int,
        gap: float,
        seed: int,
    ) -> "Iterable[PreferenceList]":
        from .people import lists_of_scores

        known: dict[str, float] = {}
        for name, score in _scored(table, file_column, score_column, split):
            sha256 = self.find(name)
            if sha256 is None:
                self.rejected["pictures that are not in the index"] += 1
            elif not math.isfinite(score):
                self.rejected["pictures whose score is no number"] += 1
            else:
                known[sha256] = score
        return lists_of_scores(known, self._asked(), length=length, lists=lists, gap=gap, seed=seed)

    def pairs(self, table: Path) -> "Iterable[PreferenceList]":
        from benchmarks.tables.judgements import read_tsv

        from .people import lists_of_pairs

        rows = read_tsv(table, ("file_1", "file_2", "wins_1", "wins_2"))
        found = []
        for number, row in enumerate(rows, 2):
            one, other = self.find(row["file_1"]), self.find(row["file_2"])
            if one is None or other is None:
                self.rejected["choices whose pictures are not in the index"] += 1
            else:
                votes = _number(row["wins_1"], table, number) - _number(row["wins_2"], table, number)
                if math.isfinite(votes):
                    found.append((one, other, votes))
                else:
                    self.rejected["choices whose votes are no numbers"] += 1
        return lists_of_pairs(found, self._asked(), {"from": table.name})

    def votes(self, path: Path, aspect: str) -> "Iterable[PreferenceList]":
        from retrieval.hpir import read_hpir
        from retrieval.votes import ASPECTS

        from .people import lists_of_votes

        if aspect not in ASPECTS:
            raise BeholderError(f"--aspect {aspect}", ", ".join(ASPECTS))
        return lists_of_votes(read_hpir(path), aspect, self.rejected)

    def ranked(self, path: Path) -> "Iterable[PreferenceList]":
        from .people import read_ranked_rows

        return read_ranked_rows(path, self.find, self.rejected)

    def _asked(self) -> tuple[str, ...]:
        if not self.phrasings:
            raise BeholderError("no query", "--phrasing TEXT", 'Example: --phrasing "a beautiful web page"')
        return self.phrasings


def _scored(table: Path, file_column: str, score_column: str, split: str | None) -> list[tuple[str, float]]:
    from benchmarks.tables.judgements import read_tsv

    found = []
    for number, row in enumerate(read_tsv(table, (file_column, score_column, *(("split",) if split else ()))), 2):
        if split and row["split"] != split:
            continue
        found.append((row[file_column], _number(row[score_column], table, number)))
    return found


def _number(text: str, table: Path, line: int) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise BeholderError(f"{table.name}, line {line}: {text!r}", "a number") from error


def _finder(index: "Index") -> Callable[[str], str | None]:
    """A table's name -> the sha256 of the one picture of the index whose uri is it, or ends with it."""
    items = index.items_table()
    by_uri = dict(zip(items.column("uri").to_pylist(), items.column("sha256").to_pylist(), strict=True))
    by_name: dict[str, str | None] = {}
    for uri, sha256 in by_uri.items():
        name = uri.rpartition("/")[2]
        by_name[name] = None if name in by_name else sha256  # two of one name: only the whole uri tells them apart
    return lambda name: by_uri.get(name) or by_name.get(name.rpartition("/")[2])


def _evaluation(files: list[Path]) -> set[str]:
    from benchmarks.tables.evaluation import evaluation_pictures, read_hashes

    found = set(evaluation_pictures())
    for file in files:
        try:
            found |= read_hashes(file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise BeholderError(f"{file} cannot be read ({error})", "a file of sha256", "Check the path.") from error
    return found


def _weighted(given: str) -> tuple[str, float]:
    name, colon, weight = given.rpartition(":")
    if not colon:
        return given, 1.0
    try:
        return name, float(weight)
    except ValueError as error:
        raise BeholderError(f"--scorer {given}", "NAME or NAME:WEIGHT", "Example: --scorer warmth:-0.5") from error


def _show(page: Path, index: "Index", lists: "Iterable[PreferenceList]", columns: int) -> None:
    """A gallery of lists: a row of the grid to a section, best first."""
    from retrieval.search.gallery import write_gallery
    from retrieval.search.results import Result
    from retrieval.search.searcher import picture_folder

    rows = {row["sha256"]: row for row in index.items_table().to_pylist()}
    sections = []
    for one in lists:
        width = columns or len(one.pictures)
        for start in range(0, len(one.pictures), width):
            names = [name for name in one.pictures[start : start + width] if name in rows]
            said = one.provenance.get("rewrite") or one.query
            first = one.query if said == one.query else f"{one.query} ({said})"
            title = first if not start else f"{one.query}: row {start // width + 1}"
            results = [
                Result(
                    row["id"], place, row["uri"], math.nan, row["sha256"], row["width"], row["height"], row["caption"]
                )
                for place, row in enumerate((rows[name] for name in names), start + 1)
            ]
            sections.append((title, results))
    write_gallery(page, sections, picture_folder(index), title="Preferences")
