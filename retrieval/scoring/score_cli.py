"""The verb `score`: scores of pictures in an EMBEDDINGS folder or a built INDEX, and a scorer's self-test."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def score(
    folder: Annotated[Path | None, typer.Argument(help="EMBEDDINGS or INDEX folder.")] = None,
    scorer: Annotated[
        list[str] | None,
        typer.Option(help="Scorer (repeatable); see `beholder models`. Also pyiqa:METRIC, critic:FOLDER or a folder."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that read pictures; 0: one per core.")] = 0,
    max_bad_share: Annotated[float, typer.Option(help="Pictures that may stay unscored; ten always may.")] = 0.01,
    max_pixels: Annotated[int, typer.Option(help="Larger pictures are refused unread.")] = 200_000_000,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Try the scorers on pictures with known answers.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Score pictures: how they look, or how people like them. A picture is scored once, by its sha256.

    Example: beholder score pictures.emb --scorer beholder-appeal --scorer brightness

    Example: beholder score pictures.index --scorer complexity

    Example: beholder score --self-test --scorer sharpness
    """
    from indexes.errors import BeholderError

    from .scoring import ScoreConfig, score_folder

    if self_test:
        if folder is not None:
            raise BeholderError("--self-test and a folder", "one of them", "The self-test makes its own pictures.")
        _self_test(scorer or [], as_json)
        return
    if folder is None:
        raise BeholderError("no folder", "an EMBEDDINGS or INDEX folder", "Example: beholder score pictures.emb ...")
    from retrieval.progress import progress_line

    config = ScoreConfig(tuple(scorer or ()), workers, max_bad_share, max_pixels)
    with progress_line("pictures") as progress:
        reports = score_folder(folder, config, progress)
    if as_json:
        print(json.dumps([vars(report) for report in reports]))
        return
    for report in reports:
        print(report.line())
        for uri, reason in list(report.missing.items())[:3]:
            print(f"no score: {uri}: {reason}", file=sys.stderr)


def _self_test(names: list[str], as_json: bool) -> None:
    from indexes.errors import BeholderError
    from retrieval.encoding.encoders import load_encoder

    from .card import VECTORS
    from .scorer_trial import try_scorer
    from .scorers import load_scorer

    if not names:
        raise BeholderError("no scorer", "--scorer NAME", "See `beholder models`.")
    failed, told = 0, {}
    for name in names:
        scorer = load_scorer(name)
        encoder = load_encoder(scorer.card.encoder_names[0]) if scorer.card.kind == VECTORS else None
        findings = try_scorer(scorer, encoder)
        told[name] = [vars(finding) for finding in findings]
        failed += sum(not finding.ok for finding in findings)
        if not as_json:
            print(f"{name}: {scorer.card.model}; {scorer.card.unit}")
            for finding in findings:
                print(f"{'ok ' if finding.ok else '!! '} {finding.name:<10} {finding.found}")
    if as_json:
        print(json.dumps(told))
    if failed:
        raise typer.Exit(1)
