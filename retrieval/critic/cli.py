"""The verb `critique`: pictures -> what a critic says of them; of an INDEX, kept there as a column."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .bulk import Shown


def critique(
    images: Annotated[list[Path] | None, typer.Argument(metavar="IMAGE...", help="Pictures; or give --index.")] = None,
    critic: Annotated[
        str,
        typer.Option(
            help="One in the box, FOLDER or hf:MODEL (transformers; `align critic train`), or llm:MODEL[@URL]; "
            "default: beholder-mini-critic, in the box."
        ),
    ] = "",
    index: Annotated[Path | None, typer.Option(help="INDEX whose pictures are shown; it keeps what is said.")] = None,
    ids: Annotated[str, typer.Option(help="Of these ids of the index alone, as 3,14,15.")] = "",
    where: Annotated[str | None, typer.Option(help="Of pictures of the index for which this SQL holds.")] = None,
    find: Annotated[
        str, typer.Option(help="Ask no critic: find the index's texts that are nearest to these words.")
    ] = "",
    k: Annotated[int, typer.Option("-k", help="Texts that --find shows.")] = 10,
    kind: Annotated[str, typer.Option(help="critique, formal (analysis) or emotion.")] = "critique",
    aspect: Annotated[
        list[str] | None,
        typer.Option(help="A critique of this alone (repeatable): composition, colour, light, focus, subject, ..."),
    ] = None,
    rate: Annotated[bool, typer.Option("--rate", help="Of files: its rating too, bad (1) to excellent (5).")] = False,
    device: Annotated[str, typer.Option(help="Of a local model: cpu, cuda, cuda:N or mps.")] = "cpu",
    timeout: Annotated[float, typer.Option(help="Seconds for one answer of a server, all attempts.")] = 120.0,
    concurrency: Annotated[int, typer.Option(help="Pictures that a server is shown at once.")] = 4,
    max_tokens: Annotated[int, typer.Option(help="Tokens of an answer at most.")] = 256,
    cache: Annotated[
        str, typer.Option(help="File of kept answers; default: ~/.cache/beholder/answers.sqlite; none: keep none.")
    ] = "",
    max_fallback_share: Annotated[
        float, typer.Option(help="Share of answers that may be missing before this fails.")
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object per picture and line.")] = False,
) -> None:
    """Ask a critic, a model that looks at pictures, what it says of them. What was measured is told apart from it.

    Stopped and started again, it goes on: answers are kept. A picture that is missing, a refusal, nonsense or no answer
    in time is counted and shown, and no text stands in for it.

    Example: beholder critique harbour.jpg

    Example: beholder critique harbour.jpg --critic llm:qwen2.5vl@http://localhost:11434/v1

    Example: beholder critique --index pictures.index --ids 3,14 --critic work/critic --aspect light --aspect mood

    Example: beholder critique --index pictures.index --find "soft evening light"
    """
    from indexes.errors import BeholderError, ConditionFailed
    from retrieval.progress import progress_line

    from .bulk import critique_files, critique_index
    from .critic import BOXED, CriticSettings, load_critic
    from .opinions import told
    from .questions import questions
    from .said import counted

    if bool(images) == (index is not None):
        found = "pictures and --index" if images else "no pictures"
        raise BeholderError(found, "IMAGE... or --index INDEX", "Example: beholder critique harbour.jpg --critic ...")
    if index is not None and rate:
        raise BeholderError("--rate with --index", "files", "Of an index: beholder score --scorer critic:FOLDER.")
    if index is None and (ids or where):
        raise BeholderError("--ids or --where without --index", "an INDEX whose pictures they are", "Give --index.")
    if find:
        if index is None or critic or ids or where:
            raise BeholderError("--find with other options", "--index INDEX and -k alone", "Leave the others out.")
        _show_found(index, find, k, as_json)
        return
    if not 0 <= max_fallback_share <= 1 or timeout <= 0 or concurrency < 1 or max_tokens < 1:
        raise BeholderError("a wrong option", "a share from 0 to 1, all else above 0", "Correct it.")
    asked = questions(kind, tuple(aspect or ()))
    chosen = _ids(ids) if ids else None
    settings = CriticSettings(
        device=device,
        concurrency=concurrency,
        timeout_s=timeout,
        max_answer_tokens=max_tokens,
        cache=None if cache == "none" else cache,
    )
    one = load_critic(critic or BOXED, settings)
    with progress_line("pictures") as progress:
        if index is not None:
            shown = critique_index(one, index, asked, chosen, where, progress)
        else:
            shown = list(critique_files(one, images or [], asked, progress, rate))
    for picture in shown:
        if as_json:
            print(json.dumps({**picture.to_dict(), "critic": one.name}, ensure_ascii=False))
        else:
            print("\n".join(_lines(picture)))
    answers = [said for picture in shown for said in picture.said.values()]
    ratings = [picture.rating for picture in shown if picture.rating is not None]
    missing = Counter(counted(answers)) + Counter(rating.fallback for rating in ratings if not rating.means)
    total, fell = len(answers) + len(ratings), sum(missing.values())
    kept = sum(said.cached and said.text is not None for said in answers)
    by = f"; ratings: {told(rating.means for rating in ratings) or 'none'}" if ratings else ""
    reasons = "".join(f"; {count} without: {reason}" for reason, count in sorted(missing.items()))
    print(f"{one.name}: {total - fell} of {total} answers ({kept} kept from before){by}{reasons}", file=sys.stderr)
    if fell > max_fallback_share * total:
        most = f"at most {max_fallback_share:.0%}"
        raise ConditionFailed(f"{fell} of {total} answers are missing", most, "Run it again, or allow more.")


def _lines(picture: "Shown") -> list[str]:
    """A picture for people: what was said, its rating, and apart from both what was measured."""
    lines = [picture.uri if picture.id is None else f"{picture.id}  {picture.uri}"]
    for name, said in picture.said.items():
        before = f"{name}: " if len(picture.said) > 1 else ""
        lines.append(f"    {before}{said.text}" if said.text is not None else f"    {before}(nothing: {said.fallback})")
    rating = picture.rating
    if rating is not None:
        given = f"{rating.value:.2f} of 5 (by {rating.means})" if rating.means else f"(nothing: {rating.fallback})"
        lines.append(f"    rating: {given}")
    if picture.measured:
        measured = ", ".join(f"{name} {value:.3g}" for name, value in picture.measured.items())
        lines.append(f"    measured: {measured}")
    return lines


def _show_found(index: Path, words: str, k: int, as_json: bool) -> None:
    from .find import find_critiques

    for match in find_critiques(index, words, k):
        if as_json:
            print(json.dumps(match.to_dict(), ensure_ascii=False))
        else:
            print(f"{match.likeness:.3f}  {match.id}  {match.uri}\n    {match.asked}: {match.text}")


def _ids(given: str) -> list[int]:
    from indexes.errors import BeholderError

    try:
        return [int(part) for part in given.split(",")]
    except ValueError:
        raise BeholderError(f"--ids {given}", "numbers with commas between", "Example: --ids 3,14,15") from None
