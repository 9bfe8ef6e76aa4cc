"""The embedding pipeline: source -> decode workers -> batches -> encoder -> shards, resumable at any moment.

Memory is bounded by one shard of vectors, three batches decoded ahead (of pictures out of Parquet or a compressed tar
also their files, 16 MiB a task), the model and the encoder's own arrays; it does not grow with the corpus (the listing
of names aside). Each shard is a unit of resume: see `plan.py`. On a Ray cluster (`cluster.py`) units are tasks; those
that are done wait on the machines that did them until this one writes them, in order.
"""

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from indexes.errors import BeholderError, ConditionFailed
from indexes.records.manifest import record_file, sha256_file, write_bytes_atomic
from indexes.records.shards import ITEM_COLUMNS, EmbeddingsManifest, ShardRecord, read_items, write_shard
from indexes.records.vectors import VectorFile
from retrieval.sources import plan as plans
from retrieval.sources.archives import Misfit, fitted
from retrieval.sources.captions import read_captions
from retrieval.sources.images import MAX_PIXELS
from retrieval.sources.plan import Part, Plan, Unit
from retrieval.sources.sources import Source, find_source
from retrieval.sources.workers import Decoded, DecodePool

from .cluster import Cluster
from .encode_unit import Encoded, UnitTask, encode_unit, run_unit
from .encoder import Encoder
from .encoders import load_encoder

LEAST_BAD = 10  # so many bad pictures are always allowed: one in a folder of twenty is not a broken corpus
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EmbedConfig:
    """Options of `embed`. Model, batch_size, device and threads decide the vectors, shard_size their files."""

    model: str = "beholder-mini"
    batch_size: int = 64  # pictures
    workers: int = 0  # decode processes; 0 = one per core
    shard_size: int = 8192  # pictures per shard, the unit of resume
    max_bad_share: float = 0.01  # of the pictures listed
    device: str = "cpu"
    threads: int = 0  # of the encoder on a CPU; 0 = torch's choice
    captions: str | None = None  # a TSV with a column file or image, and one named caption or title
    max_pixels: int = MAX_PIXELS
    ray: str | None = None  # address of a Ray cluster that does the units, as cluster.Cluster; None: this machine

    def __post_init__(self) -> None:
        wrong = [
            f"{name} {getattr(self, name)}"
            for name, least in {
                "batch_size": 1,
                "workers": 0,
                "shard_size": 1,
                "threads": 0,
                "max_pixels": 1,
            }.items()
            if getattr(self, name) < least
        ]
        if not 0 <= self.max_bad_share <= 1:
            wrong.append(f"max_bad_share {self.max_bad_share}")
        if wrong:
            raise BeholderError(", ".join(wrong), "positive numbers and a share in [0, 1]", "Correct the options.")


@dataclass
class EmbedReport:
    """What a run did; seconds per stage are summed over workers for read and decode."""

    count: int = 0  # pictures in the folder now
    new: int = 0
    changed: int = 0
    removed: int = 0
    rejected: int = 0
    embedded: int = 0  # pictures encoded by this run
    resumed_shards: int = 0
    notes: list[str] = field(default_factory=list)  # about the source: what it seems to lack, what was left out
    wall_s: float = 0.0  # of the pipeline, without loading the model and starting workers
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "decode", "encode", "write"), 0.0))

    @property
    def pictures_per_s(self) -> float:
        return self.embedded / self.wall_s if self.wall_s else 0.0


def embed(
    source: str | Path | Sequence[str | Path],
    embeddings: Path,
    config: EmbedConfig | None = None,
    *,
    encoder: Encoder | None = None,
    progress: Progress | None = None,
) -> EmbedReport:
    """Brings the EMBEDDINGS folder up to the pictures of `source` and says what it took. The source is a folder of
    pictures, tars or Parquet files, a dataset on disk, or names or patterns of such archives: see `sources`.

    Raises ConditionFailed above `max_bad_share` (finished shards are kept), BeholderError for wrong calls: another
    encoder than the folder's, an interrupted run with other settings, a folder that another process is writing.
    """
    config = config or EmbedConfig()
    if embeddings.exists() and not embeddings.is_dir():
        raise BeholderError(f"{embeddings} is a file", "an EMBEDDINGS folder", "Name it after the sources.")
    captions = read_captions(Path(config.captions)) if config.captions else {}
    found = find_source(source, _old_root(embeddings))
    with plans.locked(embeddings):
        # Where others encode, this machine needs the encoder for its fingerprint only, and no GPU.
        encoder = encoder or load_encoder(config.model, config.device if config.ray is None else "cpu")
        old = _existing(embeddings, encoder)
        settings = _settings(config) | {"source": plans.relative(found.root, embeddings)}
        settings |= {"names": list(found.names)} if found.names else {}
        plan, resumed = plans.open_plan(found, embeddings, settings, config.shard_size)
        if old is not None and not plan.units and len(plan.rejected) == 0 and _count_lines(embeddings) == 0:
            plans.write_seen(embeddings, plans.read_seen(embeddings) | plans.agreed([plan.checked]))
            return EmbedReport(count=old.count, notes=list(plan.notes))
        run = _Run(found, embeddings, config, encoder, plan, captions, progress or (lambda done, total: None))
        return run.finish(old, resumed)


def _old_root(embeddings: Path) -> Path | None:
    """The root of the source that is there already."""
    if not plans.manifest_digest(embeddings):
        return None
    return (embeddings / EmbeddingsManifest.read(embeddings).source).resolve()


class _Run:
    """One carrying out of a plan."""

    def __init__(
        self,
        source: Source,
        folder: Path,
        config: EmbedConfig,
        encoder: Encoder,
        plan: Plan,
        captions: Mapping[str, str],
        progress: Progress,
    ) -> None:
        self.root, self.folder, self.config, self.encoder = source.root, folder, config, encoder
        self.plan, self.captions, self.progress = plan, captions, progress
        self.report = EmbedReport(new=plan.new, changed=plan.changed, removed=plan.removed, notes=list(plan.notes))
        self.misfits: Counter[str] = Counter()  # by column: values of a type it cannot hold
        self.total = sum(len(unit.uris) for unit in plan.units if unit.copy_of is None)
        self.done = 0
        self.started = time.perf_counter()

    def finish(self, old: EmbeddingsManifest | None, resumed: bool) -> EmbedReport:
        next_id = old.next_id if old else 0
        parts: list[Part] = []
        rejected = [list(pair) for pair in self.plan.rejected]
        kept = {unit.number: plans.read_part(self.folder, unit) for unit in self.plan.units}
        new = [unit for unit in self.plan.units if unit.copy_of is None and kept[unit.number] is None]
        self.done = self.total - sum(len(unit.uris) for unit in new)
        with contextlib.closing(self._encoded(new)) as encoded:
            for unit in self.plan.units:
                part = kept[unit.number]
                if part is not None:
                    self.report.resumed_shards += 1
                else:
                    part = self._copy(unit, old) if unit.copy_of is not None else self._part(unit, encoded, next_id)
                    plans.write_part(self.folder, unit, part)
                parts.append(part)
                if part.shard is not None and unit.copy_of is None:
                    next_id += part.shard.count
                rejected += part.rejected
                self._check_bad(rejected)
        self.report.wall_s = time.perf_counter() - self.started
        self.report.notes += [
            f"column {name}: {count} values of another type, or not in the first pictures, were left out"
            for name, count in sorted(self.misfits.items())
        ]
        self._check_bad(rejected)
        self._publish(old, parts, rejected, next_id)
        self._log(resumed)
        return self.report

    def _encoded(self, units: Sequence[Unit]) -> Generator[Encoded, None, None]:
        """The units, encoded, in their order; the clock starts when models are loaded and workers have started."""
        config, root = self.config, self.root
        if config.ray is not None and units:
            threads = _threads(config)
            tasks = (
                UnitTask(
                    str(root.resolve()),
                    unit.uris,
                    config.model,
                    self.encoder.record.image_fingerprint,
                    config.device,
                    threads,
                    config.workers,
                    config.batch_size,
                    config.max_pixels,
                )
                for unit in units
            )
            gpus = int(config.device.startswith("cuda"))
            with Cluster(config.ray) as cluster:
                self.started = time.perf_counter()
                # Not threads plus workers: those wait for the encoder most of the time.
                for encoded in cluster.map(run_unit, tasks, cpus=max(threads, config.workers), gpus=gpus):
                    self._looked_at(len(encoded.good) + len(encoded.rejected))
                    yield encoded
            return
        _set_threads(config)
        with DecodePool(config.workers or os.cpu_count() or 1, config.max_pixels) as pool:
            if units:
                pool.warm()
            self.started = time.perf_counter()
            for unit in units:
                yield encode_unit(root, unit.uris, self.encoder, pool, config.batch_size, self._looked_at)

    def _looked_at(self, count: int) -> None:
        self.done += count
        self.progress(self.done, self.total)

    def _part(self, unit: Unit, units: Iterator[Encoded], first_id: int) -> Part:
        """Writes the next unit that was encoded."""
        encoded = next(units)
        for stage, seconds in encoded.seconds.items():
            self.report.seconds[stage] += seconds
        good = encoded.good
        self.report.embedded += len(good)
        if not good:
            return Part(None, encoded.rejected, encoded.seen)
        started = time.perf_counter()
        ids = np.arange(first_id, first_id + len(good), dtype=np.int64)
        shard = write_shard(self.folder, unit.number, ids, encoded.vectors, self._items(ids, good))
        self.report.seconds["write"] += time.perf_counter() - started
        return Part(shard, encoded.rejected, encoded.seen)

    def _items(self, ids: Any, good: list[Decoded]) -> Any:
        columns = {
            "id": ids,
            "uri": [picture.uri for picture in good],
            "sha256": [picture.sha256 for picture in good],
            "width": [picture.width for picture in good],
            "height": [picture.height for picture in good],
            "bytes": [picture.bytes for picture in good],
            "caption": [self.captions.get(picture.uri) or picture.carried.get("caption") for picture in good],
        }
        items = pa.table(columns, schema=ITEM_COLUMNS)
        for name, kind in self.plan.columns.items():
            values = [self._fitted(name, picture.carried.get(name), kind) for picture in good]
            items = items.append_column(name, pa.array(values, pa.type_for_alias(kind)))
        self.misfits.update(name for picture in good for name in picture.carried.keys() - items.schema.names)
        return items

    def _fitted(self, name: str, value: Any, kind: str) -> Any:
        try:
            return fitted(value, kind)
        except Misfit:
            self.misfits[name] += 1
            return None

    def _copy(self, unit: Unit, old: EmbeddingsManifest | None) -> Part:
        """The rows of a shard whose pictures are still there unchanged, without encoding them again."""
        if old is None:
            raise BeholderError(f"{self.folder} lost its manifest", "the manifest it had", "Use a new folder.")
        shard = next(shard for shard in old.shards if shard.number == unit.copy_of)
        items = read_items(self.folder / shard.items.path)
        lost = set(unit.uris)
        keep = np.array([uri not in lost for uri in items.column("uri").to_pylist()])
        if not keep.any():
            return Part(None, [], {})
        vectors = VectorFile(self.folder / shard.vectors.path, old.dimension).rows_at(np.flatnonzero(keep))
        kept = items.filter(pa.array(keep))
        copied: ShardRecord = write_shard(self.folder, unit.number, kept.column("id").to_numpy(), vectors, kept)
        return Part(copied, [], {})

    def _check_bad(self, rejected: list[list[str]]) -> None:
        """Too many bad pictures end the run as soon as that is known; the list says which."""
        self.report.rejected = len(rejected)
        if len(rejected) <= max(LEAST_BAD, self.config.max_bad_share * self.plan.listed):
            return
        self._write_rejected(rejected)
        raise ConditionFailed(
            f"{len(rejected)} of {self.plan.listed} pictures are bad (first: {rejected[0][0]}: {rejected[0][1]})",
            f"at most {self.config.max_bad_share:.1%}",
            f"See {self.folder / 'rejected.jsonl'}; raise --max-bad-share to go on from here.",
        )

    def _write_rejected(self, rejected: list[list[str]]) -> None:
        lines = [
            json.dumps({"uri": uri, "reason": reason}, ensure_ascii=False) + "\n" for uri, reason in sorted(rejected)
        ]
        write_bytes_atomic(self.folder / "rejected.jsonl", "".join(lines).encode())

    def _publish(
        self, old: EmbeddingsManifest | None, parts: list[Part], rejected: list[list[str]], next_id: int
    ) -> None:
        started = time.perf_counter()
        new = [part.shard for part in parts if part.shard is not None]
        shards = plans.merged(old.shards if old else (), self.plan, new)
        if not shards:
            plans.abandon(self.folder)  # else the next run would go on with it, the disk mounted again or not
            raise BeholderError(
                f"{self.root} holds no usable picture ({len(rejected)} rejected)",
                "pictures",
                "Check the folder.",
            )
        self._write_rejected(rejected)
        claims = [self.plan.checked, *(part.seen for part in parts)]
        told = {name for claim in claims for name in claim}
        old_seen = {name: seen for name, seen in plans.read_seen(self.folder).items() if name not in told}
        plans.write_seen(self.folder, old_seen | plans.agreed(claims))
        manifest = EmbeddingsManifest(
            encoder=self.encoder.record if old is None else old.encoder,
            source=plans.relative(self.root, self.folder),
            count=sum(shard.count for shard in shards),
            rejected=record_file(self.folder, "rejected.jsonl"),
            shards=shards,
            next_id=next_id,
            settings=_settings(self.config),
        )
        manifest.write(self.folder)
        plans.finish(self.folder)
        self.report.count = manifest.count
        self.report.seconds["write"] += time.perf_counter() - started

    def _log(self, resumed: bool) -> None:
        line = {**asdict(self.report), "pictures_per_s": self.report.pictures_per_s, "resumed": resumed}
        line |= {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "workers": self.config.workers or os.cpu_count(),
        }
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")


def _settings(config: EmbedConfig) -> dict[str, Any]:
    """What decides the bytes of a run, beside the encoder and the pictures; of the captions' table its sha256."""
    settings = asdict(config)
    decisive = {key: settings[key] for key in ("batch_size", "shard_size", "device", "threads", "max_pixels")}
    return decisive | {"captions": sha256_file(Path(config.captions)) if config.captions else None}


def _existing(folder: Path, encoder: Encoder) -> EmbeddingsManifest | None:
    if not plans.manifest_digest(folder):
        return None
    old = EmbeddingsManifest.read(folder)
    if old.encoder.image_fingerprint != encoder.record.image_fingerprint:
        raise BeholderError(
            f"{folder} holds vectors of {old.encoder.name}, another encoder than {encoder.name}",
            "one encoder per folder",
            "Give a new folder.",
        )
    return old


def _count_lines(folder: Path) -> int:
    path = folder / "rejected.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def _threads(config: EmbedConfig) -> int:
    """Those of the encoder: torch's choice on this machine counts for the others too, since they decide the bytes."""
    import torch

    return config.threads or int(torch.get_num_threads())


def _set_threads(config: EmbedConfig) -> None:
    if config.threads:
        import torch

        torch.set_num_threads(config.threads)
