"""The settings of the service: one frozen configuration, the same thing as the options of `beholder serve`."""

import re
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Arithmetic over the candidates, or fixed words: no client can do harm or run up a bill with these.
RERANKERS = ("rank-mix", "mmr")
REWRITERS = ("none", "template")


@dataclass(frozen=True)
class ServeConfig:
    """How indexes are served. Raises BeholderError that names every problem at once."""

    indexes: tuple[tuple[str, Path], ...]  # (name in URLs, INDEX folder); the first is the default one
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None  # that requests must bring; None: anyone who reaches the port may ask
    hosts: tuple[str, ...] = ()  # names it may be called by; on loopback its own are always among them
    origins: tuple[str, ...] = ()  # web pages of other origins that may ask, "https://example.org"; "*" for all
    model: str | None = None  # encoder of queries, where not the index's own
    device: str = "cpu"
    index_device: str = "cpu"  # of the indexes, as torch_exact.open_index
    preload: bool = False  # load encoders before answering; else with the first query that needs one
    mmap: bool | None = None  # as load_index
    rewriters: tuple[tuple[str, str], ...] = ()  # (name, spec) that clients may ask for beside none and template
    rerankers: tuple[tuple[str, str], ...] = ()  # (name, spec) that clients may ask for beside RERANKERS
    critic: str | None = None  # spec of a critic that visitors may ask about pictures; None: only kept texts are told
    critic_waiting: int = 8  # questions that may wait for it; more get 503
    fetch_from: tuple[str, ...] = ()  # host names that pictures may be fetched from; none: no URL is fetched
    follow_links: bool = False  # show pictures that are links to outside the source's folder
    watch_s: float = 2.0  # seconds between looks at the manifests for a changed index; 0: only on SIGHUP
    timeout_s: float = 10.0  # for a query's answer
    slow_timeout_s: float = 120.0  # where a language model rewrites or re-ranks, or a critic looks
    drain_s: float = 30.0  # at the end, for requests that are being answered
    waiting: int = 256  # requests that may wait per index and lane; more get 503
    batch: int = 64  # requests worked on together
    max_k: int = 1000
    max_parts: int = 16  # texts, pictures and ids of one query
    max_text: int = 1000  # characters of a text; a condition may have four times as many
    max_picture_mb: float = 20.0  # MB of a picture's file, sent or fetched
    max_pixels: int = 50_000_000  # of a picture, sent or shown
    cache_mb: float = 64.0  # MB of thumbnails kept in memory

    def __post_init__(self) -> None:
        names = [name for name, _ in self.indexes]
        wrong = [f"the index name {name!r} (letters, digits, . _ -)" for name in names if not NAME.fullmatch(name)]
        wrong += [f"two indexes named {name} (NAME=FOLDER names one)" for name in sorted(set(names), key=names.index)
                  if names.count(name) > 1]  # fmt: skip
        if not names:
            wrong.append("no index")
        if not 0 <= self.port <= 65535:
            wrong.append(f"port {self.port} (0 to 65535)")
        if self.token is not None and (len(self.token) < 8 or not self.token.isascii() or not self.token.isprintable()):
            wrong.append("a token that is short or not plain text (8 printable ASCII characters or more)")
        least = {"timeout_s": 0.01, "slow_timeout_s": 0.01, "drain_s": 0, "watch_s": 0, "waiting": 1, "batch": 1}
        least |= {"max_k": 1, "max_parts": 1, "max_text": 1, "max_picture_mb": 0.001, "max_pixels": 1, "cache_mb": 0}
        least |= {"critic_waiting": 1}
        low = {name: bound for name, bound in least.items() if getattr(self, name) < bound}
        wrong += [f"{name} {getattr(self, name)} (at least {bound:g})" for name, bound in low.items()]
        for kind, pairs in (("rewriter", self.rewriters), ("re-ranker", self.rerankers)):
            given = [name for name, _ in pairs]
            wrong += [f"two {kind}s named {name}" for name in sorted(set(given)) if given.count(name) > 1]
        if wrong:
            raise BeholderError(f"settings of the service: {'; '.join(wrong)}")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def allowed_hosts(self) -> frozenset[str] | None:
        """Host names that requests may carry; None for any. On loopback a page of another origin could otherwise ask
        under a name of its own that it has pointed here (DNS rebinding)."""
        if self.loopback:
            return frozenset({"localhost", "127.0.0.1", "::1", self.host, *self.hosts})
        return frozenset(self.hosts) if self.hosts else None

    @property
    def max_picture_bytes(self) -> int:
        return int(self.max_picture_mb * 1e6)

    @property
    def max_body_bytes(self) -> int:
        """A query's pictures in base64, and a megabyte for the rest."""
        return int(1.4 * self.max_picture_bytes) + 1_000_000

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "indexes": [[name, str(folder)] for name, folder in self.indexes]}


def named_folder(given: str) -> tuple[str, Path]:
    """(name, folder) of "NAME=FOLDER" or "FOLDER", whose name is then the folder's up to its first dot."""
    name, equals, folder = given.partition("=")
    if equals and not Path(given).exists():
        return name, Path(folder)
    return Path(given).resolve().name.partition(".")[0], Path(given)


def named_spec(given: str) -> tuple[str, str]:
    """(name, spec) of a rewriter, "NAME=SPEC" or "SPEC", whose name is then its kind: "llm" of llm:MODEL@URL. Clients
    see names only."""
    name, equals, spec = given.partition("=")
    if equals and NAME.fullmatch(name):
        return name, spec
    return given.partition(":")[0], given
