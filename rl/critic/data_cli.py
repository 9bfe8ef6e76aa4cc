"""`align critic data`: options -> conversations from one source -> a file."""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from indexes.errors import BeholderError, ConditionFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.conversations import Conversation, Reading

    from .written_data import Written

FORMATS = "llava", "minigpt4", "artemis", "tar"  # of --from-file


def data(
    out: Annotated[Path, typer.Argument(help="File of conversations to write (JSONL).")],
    grounded: Annotated[bool, typer.Option("--grounded", help="From what is measured and labelled.")] = False,
    from_critiques: Annotated[Path | None, typer.Option(help="TSV of people's reviews, turned into questions.")] = None,
    from_titles: Annotated[Path | None, typer.Option(help="TSV of file, title, artist: what models know.")] = None,
    from_file: Annotated[Path | None, typer.Option(help="Another's file, in the --format given.")] = None,
    from_votes: Annotated[Path | None, typer.Option(help="Set in HPIR's format, as the page exports it.")] = None,
    from_pairs: Annotated[Path | None, typer.Option(help="TSV of choices: file_1, file_2, wins_1, wins_2.")] = None,
    format: Annotated[str, typer.Option("--format", help=f"Of --from-file: {', '.join(FORMATS)}.")] = "llava",
    root: Annotated[
        Path | None, typer.Option("--data", envvar="BEHOLDER_DATA", help="Folder that pictures' paths begin at.")
    ] = None,
    embeddings: Annotated[
        list[Path] | None,
        typer.Option(help="EMBEDDINGS with kept scores, or of the pictures of votes (repeatable)."),
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="Of --grounded: a set under --data (repeatable).")] = None,
    split: Annotated[str, typer.Option(help="Of --grounded: the sets' split; else what is written down.")] = "train",
    levels_of: Annotated[Path | None, typer.Option(help="Of --grounded: the training file, for other splits.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Of --grounded: only these (repeatable).")] = None,
    scorer: Annotated[list[str] | None, typer.Option(help="Of --grounded: attributes (repeatable).")] = None,
    captions: Annotated[int, typer.Option(help="Of --grounded: captions of a picture.")] = 2,
    pairs: Annotated[int, typer.Option(help="Of --grounded: partners that a picture is compared with.")] = 2,
    least_gap: Annotated[float, typer.Option(help="Of --grounded: between percentiles of two compared.")] = 0.0,
    dev_share: Annotated[float, typer.Option(help="Share of pictures that become dev.")] = 0.1,
    model: Annotated[
        list[str] | None, typer.Option(help="Writer, llm:MODEL[@URL] (repeatable; the first writes).")
    ] = None,
    agree: Annotated[int, typer.Option(help="Of --from-titles: models that must name an element.")] = 2,
    most: Annotated[int, typer.Option(help="Of --from-critiques: questions of a review.")] = 6,
    limit: Annotated[int, typer.Option(help="Only so many rows of a table; 0: all.")] = 0,
    column: Annotated[list[str] | None, typer.Option(help="Of --from-critiques: columns of text, else PCCD's.")] = None,
    image_column: Annotated[str, typer.Option(help="Of --from-critiques: names of pictures, where there are.")] = "",
    aspect: Annotated[str, typer.Option(help="Of --from-votes: accuracy, aesthetics or diversity.")] = "aesthetics",
    licence: Annotated[str, typer.Option(help="Terms of the texts, for each record.")] = "",
    cache: Annotated[Path | None, typer.Option(help="Kept answers of the writers; else OUT.answers.sqlite.")] = None,
    concurrency: Annotated[int, typer.Option(help="Questions at once.")] = 4,
    seed: Annotated[int, typer.Option(help="Of drawn words and pairs.")] = 0,
) -> None:
    """Write conversations about pictures, for `align critic train` and `bench critique`.

    Example: beholder align critic data grounded.jsonl --grounded --data ../data --embeddings all.emb

    Example: beholder align critic data titles.jsonl --from-titles ../data/peopleart/items.tsv --model
    llm:one@http://localhost:8000/v1 --model llm:two@http://localhost:8000/v1
    """
    given = [grounded or None, from_critiques, from_titles, from_file, from_votes, from_pairs]
    if sum(one is not None for one in given) != 1:
        raise BeholderError(
            f"{sum(one is not None for one in given)} sources",
            "one of --grounded, --from-critiques, --from-titles, --from-file, --from-votes, --from-pairs",
            "Example: --grounded",
        )
    started = time.monotonic()
    table = next((one for one in given[1:] if isinstance(one, Path)), None)
    if table is not None and split == "train":
        from benchmarks.tables.terms import refuse_training

        # Of choices the terms are those of the pictures, which are listed beside them.
        refuse_training(table.with_name("items.tsv") if table == from_pairs else table, split)
    if grounded:
        from .grounded import KINDS
        from .grounded_data import GroundedConfig, make_grounded
        from .grounded_facts import LOOK, SOURCES

        config = GroundedConfig(
            data=_folder(root),
            embeddings=tuple(embeddings or ()),
            sources=tuple(source or SOURCES),
            split=split,
            levels_of=levels_of,
            kinds=tuple(kind or KINDS),
            scorers=tuple(scorer or LOOK),
            captions=captions,
            pairs=pairs,
            least_gap=least_gap,
            dev_share=dev_share,
            seed=seed,
        )
        made = make_grounded(out, config)
        print(f"{out}: {sum(made.counts.values())} conversations about {made.pictures} pictures")
        for name, count in made.counts.items():
            print(f"{count:8d} {name}")
        if made.missing:
            print(f"left out: {made.missing} pictures that are not there")
        if made.torn:
            print(f"left out: {made.torn} pairs of pictures of both splits")
    elif from_critiques is not None or from_titles is not None:
        from .written_data import open_writers

        kept = cache or out.with_name(f"{out.name}.answers.sqlite")
        writers = open_writers(model or [], kept, 1024, concurrency)
        if from_critiques is not None:
            origin, written = _critiques(from_critiques, writers, column, image_column, licence, most, limit)
        else:
            origin, written = _titles(from_titles or Path(), writers, _folder(root), licence, agree, split, limit)
        for reason, count in sorted(written.rejected.items()):
            print(f"left out: {count} ({reason})")
        known = {"models": list(writers.models), "rejected": dict(written.rejected)}
        _write(out, written.conversations, {**origin, **known}, dev_share)
    else:
        reading, origin = _read(
            out, from_file, from_votes, from_pairs, format, root, embeddings or [], aspect, licence, split
        )
        for line in reading.told():
            print(line)
        _write(out, reading.conversations, {**origin, "left_out": len(reading.problems)}, dev_share)
    print(f"{time.monotonic() - started:.1f} s")


def _critiques(
    table: Path, writers: Any, columns: "Sequence[str] | None", image_column: str, licence: str, most: int, limit: int
) -> "tuple[dict[str, Any], Written]":
    from benchmarks.tables.judgements import read_tsv
    from retrieval.progress import progress_line

    from .critique_data import PCCD, PROMPT, from_critiques, reviews_of

    wanted = tuple(columns or PCCD)
    rows = read_tsv(table, [*wanted, *([image_column] if image_column else [])])
    reviews = list(reviews_of(rows[: limit or None], wanted, image_column))
    with progress_line("reviews") as progress:
        made = from_critiques(
            reviews, writers, source=table.stem, licence=licence or _licence(table), most=most, progress=progress
        )
    return {"made": "critiques", "table": table.name, "prompt": PROMPT, "reviews": len(reviews)}, made


def _titles(
    table: Path, writers: Any, root: Path, licence: str, agree: int, split: str, limit: int
) -> "tuple[dict[str, Any], Written]":
    from benchmarks.tables.evaluation import refuse_evaluation
    from benchmarks.tables.judgements import read_tsv
    from indexes.records.manifest import sha256_file
    from retrieval.progress import progress_line

    from .title_data import ANALYSED, CHOSEN, KNOWN, Painting, from_titles

    rows = read_tsv(table, ("file", "title", "artist"))
    rows = [row for row in rows if row["title"] and row["artist"] and row.get("split", split) == split]
    paintings, missing = [], 0
    for row in rows[: limit or None]:
        path = table.parent / row["file"]
        if not path.is_file():
            missing += 1
            continue
        name = path.resolve().relative_to(root.resolve()) if path.resolve().is_relative_to(root.resolve()) else None
        if name is None:
            raise BeholderError(f"{table} is not under {root}", "pictures under --data", "Name their folder by --data.")
        paintings.append(Painting(name.as_posix(), row["title"], row["artist"], split, sha256_file(path)))
    if split == "train":
        refuse_evaluation((one.picture, one.sha256) for one in paintings)
    with progress_line("questions") as progress:
        made = from_titles(
            paintings, writers, source=table.parent.name, licence=licence or _licence(table), agree=agree,
            progress=progress,
        )  # fmt: skip
    if missing:
        made.rejected["missing pictures"] = missing
    told = "what language models know of these works, not what they saw"
    origin = {"made": "titles", "table": table.name, "prompts": [KNOWN, CHOSEN, ANALYSED], "agree": agree}
    return {**origin, "paintings": len(paintings), "rests_on": told}, made


def _read(
    out: Path, file: Path | None, votes: Path | None, pairs: Path | None, format: str, root: Path | None,
    embeddings: list[Path], aspect: str, licence: str, split: str,
) -> "tuple[Reading, dict[str, Any]]":  # fmt: skip
    from retrieval.critic.conversation_readers import READERS, read_tar
    from retrieval.critic.preference_conversations import pairs_of_choices, pairs_of_votes

    if votes is not None:
        from retrieval.hpir import read_hpir

        find = _uris(embeddings)
        read = pairs_of_votes(read_hpir(votes), aspect, find.get, source=votes.stem, split=split)
        return read, {"made": "votes", "file": votes.name, "aspect": aspect}
    if pairs is not None:
        from benchmarks.tables.judgements import read_tsv

        rows = enumerate(read_tsv(pairs, ("file_1", "file_2", "wins_1", "wins_2")), 2)
        splits = {row["file"]: row["split"] for row in read_tsv(pairs.with_name("items.tsv"), ("file", "split"))}
        folder = pairs.parent.resolve().relative_to(_folder(root).resolve()).as_posix()
        terms = licence or _licence(pairs.with_name("items.tsv"))
        read = pairs_of_choices(rows, splits, folder, source=pairs.parent.name, licence=terms, pictures=root)
        return read, {"made": "choices", "file": pairs.name}
    file = file or Path()
    if format not in FORMATS:
        raise BeholderError(f"--format {format}", ", ".join(FORMATS), "Choose one.")
    if format == "tar":
        into = out.with_name(f"{out.stem}.pictures")
        return read_tar(file, into, licence=licence, split=split), {"made": "tar", "file": file.name}
    read = READERS[format](file, licence=licence, pictures=root, split=split)
    return read, {"made": format, "file": file.name}


def _write(out: Path, made: "Sequence[Conversation]", origin: dict[str, Any], dev_share: float) -> None:
    from retrieval.conversations import split_by_picture, write_conversations

    if not made:
        raise ConditionFailed("no conversation could be made", "one at least", "See what was left out, above.")
    kept, torn = split_by_picture(made, dev_share) if all(one.split == "train" for one in made) else (list(made), 0)
    count = write_conversations(out, kept, origin)
    splits = Counter(one.split for one in kept)
    told = ", ".join(f"{name} {number}" for name, number in sorted(splits.items(), reverse=True))
    about = len({path for one in kept for path in one.pictures})
    print(f"{out}: {count} conversations about {about} pictures ({told})")
    if torn:
        print(f"left out: {torn} with pictures of both splits")


def _folder(root: Path | None) -> Path:
    if root is None:
        raise BeholderError("no folder of pictures", "--data FOLDER, or BEHOLDER_DATA", "Name it.")
    return root


def _licence(table: Path) -> str:
    from benchmarks.tables.terms import terms_of

    terms = terms_of(table)
    return terms.licence if terms is not None else ""


def _uris(embeddings: list[Path]) -> dict[str, str]:
    from indexes.records.shards import Embeddings

    found: dict[str, str] = {}
    for folder in embeddings:
        items = Embeddings(folder).items()
        found |= dict(zip(items.column("sha256").to_pylist(), items.column("uri").to_pylist(), strict=True))
    if not found:
        raise BeholderError("votes name pictures by sha256", "--embeddings EMB that holds them", "Name one.")
    return found
