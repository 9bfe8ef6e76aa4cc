"""docs/results.md: the runs of `bench results` in order, a summary over all of them before, the time they took behind.

The document holds blocks (report.py), so its numbers are the runs'; what stands between them is written here. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.runs import Number, Run, describe_machine

from .results_steps import BEAUTY, SCORER, SHARE, beside, short

MIX = f"rank-mix:{SHARE}@{SCORER}"
TITLES = {  # by step: a title, what it asks, and what of the run is shown
    "hpir-web": (
        "Web pages, by mean human scores",
        "All pairs of 98 test pages, each right where the page that people scored higher comes first.",
        "",
    ),
    "hpir-web-votes": (
        "Web pages, by single human choices",
        "5,094 choices between two of 100 pages. The ceiling is what scores fitted on these very votes reach.",
        "",
    ),
    "look": (
        "A look that is asked for",
        '"moody forest": is the top 10 darker than chance, by a second formula, and are there forests?',
        "| *all words*",
    ),
    "beauty": ("What beauty costs", "Relevance against the scorer's own percentile, swept.", "| *: * | wide"),
    "judge": (
        "Row against row, by an offline judge",
        "Made of scorers and text relevance: it proves the plumbing and is no evidence.",
        "",
    ),
    "captions": ("Captions and pictures", "Both directions, over 1,000 photographs of `val`.", ""),
    "objects": ("Objects in photographs and paintings", "Ordinary retrieval out of domain.", ""),
    "styles": ("Styles of paintings", "", ""),
    "zero-shot": ("Zero-shot classification", "", ""),
    "appeal-website": ("A scorer against people", "", ""),
    "complexity-savoias": ("Measured complexity against people", "", ""),
    "knowledge": ("Styles that a query describes and does not name", "", ""),
    "speed-embed": ("Embedding", "", ""),
    "speed-search": ("Exact search", "", ""),
    "speed-stages": ("A search, stage by stage", "", ""),
}
OF_ALIGNED = {"captions": "| *hit_rate@10", "objects": "| *mAP", "styles": "| *mAP"}  # else all of the run


def places_of(base: str, aligned: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """What the summary shows: row, column, step, name of its number."""
    b = f"{float(BEAUTY):g}"
    rows = {"base": "", f"sum, b = {b}": f", beauty {b}", "rank-mix": f", {MIX}"}
    for step in ("hpir-web", "hpir-web-votes"):
        for row, suffix in rows.items():
            yield row, step, step, f"{short(base)}{suffix}"
        yield f"{SCORER} alone", step, step, SCORER
        for other in aligned:
            yield short(other), step, step, short(other)
    pareto = {"base": "sum, b = 0", f"sum, b = {b}": f"sum, b = {b}", "rank-mix": f"rank-mix, share {SHARE}"}
    for row, side in pareto.items():
        yield row, "hit_rate@10", "beauty", f"{side}: hit_rate@10"
        yield row, "percentile of appeal", "beauty", f"{side}: percentile in the top 10"
    for column, step, measure in (
        ("hit_rate@10", "captions", "hit_rate@10"),
        ("objects, mAP", "objects", "mAP"),
        ("styles, mAP", "styles", "mAP"),
        ("zero-shot", "zero-shot", "zero-shot top-1"),
    ):
        if step != "captions":
            yield "base", column, step, measure
        for other in aligned:
            yield short(other), column, beside(step, other), measure
    yield "base", "look", "look", "base, all words: percentile"
    for other in aligned:
        yield short(other), "look", "look", f"{short(other)}, all words: percentile"


def summary(runs: Mapping[str, Run], base: str, aligned: Sequence[str]) -> Run:
    """The numbers of all runs that compare systems, named "system: measure"."""
    numbers: dict[str, Number] = {}
    for row, column, step, name in places_of(base, aligned):
        if step in runs and name in runs[step].numbers:
            numbers[f"{row}: {column}"] = runs[step].numbers[name]
    return Run(
        name="summary",
        command="beholder bench results",
        machine=describe_machine(),
        seed=0,
        data={"runs": sorted(runs), "base": short(base), "aligned": [short(name) for name in aligned]},
        numbers=numbers,
        notes=(
            "hpir-web, hpir-web-votes: agreement with people. hit_rate@10 and percentile of appeal: captions of "
            "Flickr8k's val; the scorer is its own judge there. look: percentile of the attribute asked for.",
        ),
    )


def times(seconds: Mapping[str, float]) -> Run:
    """How long the steps took, and all of them."""
    numbers = {"all steps": Number(sum(seconds.values()), "s")}
    numbers |= {name: Number(value, "s") for name, value in seconds.items()}
    return Run("times", "beholder bench results", describe_machine(), 0, {}, numbers)


def document(runs: Mapping[str, Run], prefix: str) -> str:
    """The Markdown with empty blocks; a run that says of itself that it cannot be believed comes first."""
    parts = [
        "# Results",
        "`make results` measured all of this with `beholder-mini` on the shared data: it trains nothing and chooses "
        "nothing, and writes this page. Intervals are 95 % bootstraps over queries or pictures; every table names its "
        "command. What they mean: [measuring](measuring.md).",
    ]
    warnings = [f"**{step}: {run.headline}**" for step, run in runs.items() if run.headline]
    parts += warnings
    parts += ["## Summary", block(f"{prefix}summary", "| wide")]
    for step, (title, words, shown) in TITLES.items():
        others = [name for name in runs if name.startswith(f"{step}-") and name not in TITLES]
        if step not in runs and not others:
            continue
        parts += [f"## {title}", *([words] if words else [])]
        if step in runs:
            parts.append(block(prefix + step, shown))
        for name in others:
            parts += [f"### {name.removeprefix(f'{step}-')}", block(prefix + name, OF_ALIGNED.get(step, ""))]
    parts += ["## How long it took", block(f"{prefix}times", "")]
    return "\n\n".join(parts) + "\n"


def block(name: str, shown: str) -> str:
    return f"<!-- results:{name}{' ' + shown if shown else ''} -->\n<!-- end -->"
