"""Verbs that choose and measure an index: build, info, tune. They parse, call and print."""

import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from indexes.records.segments import IndexManifest

Json = Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")]
Threads = Annotated[int, typer.Option(help="0: all cores.")]
QueryFile = Annotated[Path | None, typer.Option(help="Text queries to tune and measure on, one per line.")]
QueryVectors = Annotated[Path | None, typer.Option(help="The same as vectors: .npy of shape (queries, width).")]
Model = Annotated[str | None, typer.Option(help="Encoder of --queries, where the index's own name is not found.")]


def build(
    embeddings: Annotated[
        Path, typer.Argument(help="EMBEDDINGS folder, or a folder of clip-retrieval (img_emb, metadata).")
    ],
    index: Annotated[Path, typer.Argument(help="INDEX folder to make.")],
    knn_recall: Annotated[float, typer.Option(help="Share of the exact top 10 that searches must find.")] = 0.95,
    memory: Annotated[str, typer.Option(help="Most that building and searching may hold, as 4GiB; none: any.")] = "",
    queries: QueryFile = None,
    query_vectors: QueryVectors = None,
    factory: Annotated[str, typer.Option(help="FAISS's name of a kind of index; auto: planned.")] = "auto",
    like: Annotated[Path | None, typer.Option(help="INDEX whose kind, target and seed to use.")] = None,
    device: Annotated[str, typer.Option(help="Where it will be searched: cpu or cuda.")] = "cpu",
    model: Model = None,
    threads: Threads = 0,
    seed: Annotated[int, typer.Option(help="Of training and of samples.")] = 0,
    score: Annotated[
        list[str] | None, typer.Option(help="Scorer whose scores become a dimension, for --beauty; repeatable.")
    ] = None,
    default_scorer: Annotated[str, typer.Option(help="The one of them that --beauty without a name means.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an index of other embeddings.")] = False,
    ray: Annotated[
        str | None,
        typer.Option(help="Ray cluster that shares the work: auto, local or HOST:PORT.", metavar="[ADDRESS]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build a search index: the quickest kind that fits into memory and finds what it should.

    Example: beholder index build pictures.emb pictures.index --knn-recall 0.95 --memory 4GiB --queries queries.txt
    """
    from indexes.building.build import IndexConfig, build_index
    from indexes.engine.faiss_build import shares_lists
    from indexes.engine.memory import parse_size
    from indexes.errors import BeholderError
    from indexes.records.shards import Embeddings
    from retrieval.encoding.clip_layout import as_embeddings
    from retrieval.encoding.cluster import Cluster
    from retrieval.progress import progress_line

    from .scores import generic_vectors

    if like is not None and factory != "auto":
        raise BeholderError("both --like and --factory", "one of them")
    config = IndexConfig(
        factory=factory,
        threads=threads,
        seed=seed,
        knn_recall=knn_recall,
        memory=parse_size(memory) if memory else 0,
        device=device,
        measure=True,
        scorers=tuple(score or ()),
        default_scorer=default_scorer,
    )
    with (
        as_embeddings(embeddings, index, model, device) as source,
        nullcontext() if ray is None else Cluster(ray) as tasks,
        progress_line("vectors") as progress,
    ):
        vectors, texts, name = None, None, model or Embeddings(source).manifest.encoder.name
        held, asked = scores_held(index), texts_held(index)
        if queries is not None or query_vectors is not None:
            vectors = encoded_queries(queries, query_vectors, name)
        if config.scorers and queries is None:
            texts = generic_vectors(name, "without an encoder the spread of relevance is not known: no --beauty")
        manifest = build_index(
            source,
            index,
            config,
            query_vectors=vectors,
            query_kind="text" if queries is not None else "vectors",
            text_vectors=texts,
            like=like,
            overwrite=overwrite,
            tasks=tasks,
            progress=progress,
        )
    if ray is not None and not shares_lists(manifest.factory):
        print(f"note: {manifest.factory} is built by one machine: the cluster had nothing to do", file=sys.stderr)
    lost = sorted(held - {record.name for record in manifest.scores})
    asked = sorted(set(asked) - set(texts_held(index)))  # kept where the index was there already, as asked for
    if lost or asked:
        told = [*lost, *([f"critics' texts ({', '.join(asked)})"] if asked else [])]
        again = [f"`beholder score {index} {' '.join(f'--scorer {name}' for name in lost)}`"] if lost else []
        again += [f"`beholder critique --index {index}`"] if asked else []
        print(f"note: built anew without {', '.join(told)}; {', '.join(again)}", file=sys.stderr)
    manifest, cut_off = _calibrated(index, manifest, model, again=False)
    _print_built(index, manifest, as_json, cut_off)


def scores_held(index: Path) -> set[str]:
    """Names of the scores of an index that is to be built over, if there is one that can be read."""
    from indexes.errors import BeholderError
    from indexes.records.segments import IndexManifest

    try:
        return {record.name for record in IndexManifest.read(index).scores}
    except BeholderError:  # nothing there, or nothing to keep: building says so where it matters
        return set()


def texts_held(index: Path) -> list[str]:
    """What critics were asked of the pictures of an index that is to be built over: their texts are not kept."""
    from indexes.errors import BeholderError
    from indexes.records.critiques import asked_of

    try:
        return asked_of(index)
    except BeholderError:  # as above: what cannot be read is not there to be lost
        return []


def info(index: Annotated[Path, typer.Argument(help="INDEX folder.")], as_json: Json = False) -> None:
    """Say what an index holds, how it was chosen and what was measured.

    Example: beholder index info pictures.index
    """
    from indexes.records.segments import IndexManifest

    from .scores import print_scores

    manifest = IndexManifest.read(index)
    if as_json:
        print(json.dumps(asdict(manifest)))
        return
    size = sum(file.bytes for file in manifest.files)
    encoder = manifest.encoder
    print(f"pictures    {manifest.count}, of {(index / manifest.source).resolve()}")
    print(f"encoder     {encoder.name}, {encoder.width}-d")
    print(f"            pictures {encoder.image_fingerprint[:16]}, text {encoder.text_fingerprint[:16]}")
    held = sum(segment.faiss.bytes for segment in manifest.segments)
    per_vector = held / max(sum(segment.count for segment in manifest.segments), 1)
    print(f"index       {manifest.factory}, {len(manifest.segments)} segment(s), {size / 1e6:.1f} MB on disk")
    print(f"memory      {held / 1e6:.1f} MB, {per_vector:.1f} bytes per vector")
    _print_parameters(manifest)
    _print_measured(manifest, whole=True)
    print_scores(manifest, whole=True)
    if manifest.calibration is not None:
        from indexes.records.calibration import Calibration
        from retrieval.search.calibrate import told

        print(f"cut-off     {told(Calibration.from_dict(manifest.calibration))}")


def tune(
    index: Annotated[Path, typer.Argument(help="INDEX folder.")],
    knn_recall: Annotated[float | None, typer.Option(help="New target; none: the old one.")] = None,
    queries: QueryFile = None,
    query_vectors: QueryVectors = None,
    model: Model = None,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Choose the search parameters again, on new queries or on those that the index keeps.

    Example: beholder index tune pictures.index --queries queries.txt --knn-recall 0.98
    """
    from indexes.building.tune import tune_index
    from indexes.records.segments import IndexManifest

    from .scores import generic_vectors

    before = IndexManifest.read(index)
    vectors, texts, name = None, None, model or before.encoder.name
    if queries is not None or query_vectors is not None:
        vectors = encoded_queries(queries, query_vectors, name)
    kept = before.settings.get("queries") or {"kind": ""}
    if before.in_index and queries is None and (vectors is not None or kept["kind"] != "text"):
        texts = generic_vectors(name, "without an encoder the spread of relevance stays as it was")
    kind = "text" if queries is not None else "vectors"
    manifest = tune_index(
        index, query_vectors=vectors, query_kind=kind, text_vectors=texts, knn_recall=knn_recall, threads=threads
    )
    manifest, cut_off = _calibrated(index, manifest, model, again=True)
    _print_built(index, manifest, as_json, cut_off)


def encoded_queries(queries: Path | None, query_vectors: Path | None, model: str) -> "NDArray[Any]":
    """The queries (Q, D) of a file of texts, or of vectors."""
    from indexes.errors import BeholderError

    if queries is not None and query_vectors is not None:
        raise BeholderError("both --queries and --query-vectors", "one of them")
    if query_vectors is not None:
        return _array(query_vectors)
    from retrieval.search.searcher import load_text_encoder

    texts = _texts(queries) if queries is not None else []
    return load_text_encoder(model, len(texts)).encode_texts(texts)


def _texts(path: Path) -> list[str]:
    """The lines of a file that hold words."""
    from indexes.errors import BeholderError

    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BeholderError(f"{path} cannot be read ({error})", "a UTF-8 text file", "Check the path.") from error
    if not any(lines):
        raise BeholderError(f"{path} holds no query", "a query per line", "Write some.")
    return [line for line in lines if line]


def _array(path: Path) -> "NDArray[Any]":
    import numpy as np

    from indexes.errors import BeholderError

    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BeholderError(f"{path} cannot be read ({error})", "a .npy file of query vectors") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise BeholderError(f"{path} holds {getattr(array, 'dtype', 'several arrays')}", "an array of floats")
    return np.asarray(array, np.float32)


def _calibrated(
    index: Path, manifest: "IndexManifest", model: str | None, *, again: bool
) -> "tuple[IndexManifest, str]":
    """The index with its relevance cut-off, and what to say of that."""
    from retrieval.search.calibrate import calibrate_if_possible

    return calibrate_if_possible(index, manifest, model or manifest.encoder.name, again=again)


def _print_built(index: Path, manifest: "IndexManifest", as_json: bool, cut_off: str) -> None:
    """Prints what was built. Raises ConditionFailed where it misses its target: a factory that was given."""
    from indexes.errors import ConditionFailed

    from .scores import print_scores

    if as_json:
        print(json.dumps(asdict(manifest)))
    else:
        print(f"{index}: {manifest.count} pictures, {manifest.factory}")
        _print_parameters(manifest)
        _print_measured(manifest, whole=False)
        print_scores(manifest, whole=False)
        print(f"cut-off     {cut_off}")
    measured = manifest.measured
    if measured and measured["knn_recall"] < measured["target"]:
        found = f"{index} was built, but {manifest.factory} reaches knn_recall {measured['knn_recall']:.3f}"
        raise ConditionFailed(found, f"{measured['target']:g}", "Lower the target, or build it without --factory.")


def _print_parameters(manifest: "IndexManifest") -> None:
    for name, value in sorted(manifest.parameters.items()):
        print(f"{name:<11} {value}")


def _print_measured(manifest: "IndexManifest", *, whole: bool) -> None:
    """What was measured, in words; `whole`: with trials and the curve."""
    from indexes.engine.memory import shown

    measured = manifest.measured
    if not measured:
        print("knn_recall  not measured; `beholder index tune` measures it")
        return
    if "reason" in measured:
        print(f"chosen      {measured['reason']}")
    if "knn_recall" in measured:
        low, high = measured["interval"]
        print(
            f"knn_recall  {measured['knn_recall']:.3f} ({low:.3f} to {high:.3f}) of the exact top {measured['k']}, "
            f"{measured['queries']} {measured['kind']} queries, target {measured['target']:g}"
        )
        if measured.get("stale"):
            print("            of the pictures before the last change; `beholder index tune` measures again")
        if measured["kind"] == "held-out":
            print("            pictures stood in for queries: recall on text is unknown; give --queries")
        print(f"speed       {measured['latency_ms']:.2f} ms a query, {measured['qps']:.0f} queries a second in 64s")
    if "build_s" in measured:
        print(f"build       {measured['build_s']:.1f} s, {shown(measured['peak_bytes'])} at most")
    if whole:
        _print_trials(measured)


def _print_trials(measured: dict[str, Any]) -> None:
    for point in measured.get("curve", ()):
        setting = ", ".join(f"{name} {value}" for name, value in point["parameters"].items()) or "no parameters"
        print(f"curve       {point['knn_recall']:.3f} at {point['qps']:.0f} queries a second: {setting}")
    for trial in measured.get("trials", ()):
        print(
            f"tried       {trial['factory']}: {trial['knn_recall']:.3f} on the sample, "
            f"{trial['predicted_ms']:.2f} ms a query expected, {trial['bytes_per_vector']:.0f} bytes per vector"
        )
    for offered in measured.get("ruled_out", ()):
        print(f"ruled out   {offered['factory']}: {offered['build_bytes'] / 2**30:.2f} GiB to build")
