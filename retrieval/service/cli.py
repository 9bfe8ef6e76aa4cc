"""The verb `serve`: options -> config -> serve."""

import os
from pathlib import Path
from typing import Annotated

import typer

NEEDS = ("fastapi", "uvicorn", "prometheus_client")


def serve(
    indexes: Annotated[list[str], typer.Argument(metavar="INDEX...", help="INDEX folders, or NAME=FOLDER.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.")] = 8000,
    token: Annotated[
        str | None, typer.Option(help="Requests must bring it; better set as BEHOLDER_TOKEN, where no one sees it.")
    ] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="Name that it may be called by (repeatable).")] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Origin whose web pages may ask, https://example.org (repeatable).")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Encoder of queries, where not the index's own.")] = None,
    device: Annotated[str, typer.Option(help="Of the encoder and the critic: cpu, cuda, cuda:N or mps.")] = "cpu",
    index_device: Annotated[str, typer.Option(help="Of the indexes: cpu, cuda (all GPUs) or cuda:N.")] = "cpu",
    preload: Annotated[bool, typer.Option("--preload", help="Load encoders at once, not with the first text.")] = False,
    rewrite: Annotated[
        list[str] | None, typer.Option(help="Rewriter that clients may ask for: SPEC or NAME=SPEC (repeatable).")
    ] = None,
    rerank: Annotated[
        list[str] | None,
        typer.Option(help="Re-ranker that clients may ask for, as --rewrite (repeatable)."),
    ] = None,
    critic: Annotated[
        str | None, typer.Option(help="Critic that visitors may ask about a picture: as --critic of `critique`.")
    ] = None,
    critic_waiting: Annotated[int, typer.Option(help="Questions that may wait for the critic.")] = 8,
    votes: Annotated[Path, typer.Option(help="File that votes are added to.")] = Path("beholder-votes.jsonl"),
    fetch_from: Annotated[
        list[str] | None, typer.Option(help="Host that pictures may be fetched from (repeatable); else none is.")
    ] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Show pictures that are links to outside their folder.")
    ] = False,
    mmap: Annotated[
        bool | None, typer.Option("--mmap/--no-mmap", help="Leave indexes on disk; default: if memory is short.")
    ] = None,
    watch: Annotated[float, typer.Option(help="Seconds between looks for a changed index; 0: only on SIGHUP.")] = 2.0,
    timeout: Annotated[float, typer.Option(help="Seconds for an answer.")] = 10.0,
    slow_timeout: Annotated[float, typer.Option(help="Seconds where a language model takes part.")] = 120.0,
    waiting: Annotated[int, typer.Option(help="Requests that may wait; more are told to come again.")] = 256,
    batch: Annotated[int, typer.Option(help="Requests worked on together.")] = 64,
    max_k: Annotated[int, typer.Option(help="Results of one request at most.")] = 1000,
    max_text: Annotated[int, typer.Option(help="Characters of a text at most.")] = 1000,
    max_picture_mb: Annotated[float, typer.Option(help="MB of a picture sent at most.")] = 20.0,
    max_pixels: Annotated[int, typer.Option(help="Pixels of a picture sent or shown at most.")] = 50_000_000,
) -> None:
    """Serve indexes over HTTP, with a page at /. Only this machine can reach it unless --host says otherwise.

    Example: beholder serve pictures.index

    Example: beholder serve pictures.index --critic llm:qwen2.5vl@http://localhost:11434/v1

    Example: BEHOLDER_TOKEN=... beholder serve family=pictures.index art.index --host 0.0.0.0 --port 8080
    """
    from importlib.util import find_spec

    from indexes.errors import BeholderError

    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise BeholderError(f"{', '.join(missing)} not installed", "the extra serve", "pip install 'beholder[serve]'")
    from .config import ServeConfig, named_folder, named_spec

    config = ServeConfig(
        indexes=tuple(named_folder(given) for given in indexes),
        host=host,
        port=port,
        token=token or os.environ.get("BEHOLDER_TOKEN") or None,
        hosts=tuple(allow_host or ()),
        origins=tuple(allow_origin or ()),
        model=model,
        device=device,
        index_device=index_device,
        preload=preload,
        mmap=mmap,
        rewriters=tuple(named_spec(given) for given in rewrite or ()),
        rerankers=tuple(named_spec(given) for given in rerank or ()),
        critic=critic,
        critic_waiting=critic_waiting,
        fetch_from=tuple(fetch_from or ()),
        follow_links=follow_links,
        watch_s=watch,
        timeout_s=timeout,
        slow_timeout_s=slow_timeout,
        waiting=waiting,
        batch=batch,
        max_k=max_k,
        max_text=max_text,
        max_picture_mb=max_picture_mb,
        max_pixels=max_pixels,
    )
    if config.token is None and not config.loopback:
        note = f"note: whoever reaches {host} may search, see the pictures and vote; BEHOLDER_TOKEN asks for a token"
        typer.echo(note, err=True)
    if config.critic is not None:
        named = config.critic.partition("@")[0]
        typer.echo(f"note: visitors may ask {named}; a model here is loaded with the first question", err=True)
    from .lean_arrow import make_arrow_lean

    make_arrow_lean()
    from .serve import serve as run

    run(config, votes, lambda line: typer.echo(f"serving {line}"))
