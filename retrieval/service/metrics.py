"""What the service counts, in Prometheus' text format. Its own registry: two services in one process do not mix."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters and histograms; each `observe_...` costs some microseconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        own: Any = {"registry": self.registry}
        self._requests = Counter("beholder_requests", "Answers by route and status.", ["route", "status"], **own)
        self._seconds = Histogram(
            "beholder_request_seconds", "Seconds from request to answer.", ["route"], buckets=SECONDS, **own
        )
        self._stages = Counter("beholder_stage_seconds", "Seconds of work per stage of searching.", ["stage"], **own)
        self._batches = Histogram(
            "beholder_batch_size", "Requests worked on together.", ["index", "lane"], buckets=SIZES, **own
        )
        self._waits = Histogram(
            "beholder_wait_seconds", "Wait of a batch's first request.", ["index", "lane"], buckets=SECONDS, **own
        )
        self._pictures = Gauge("beholder_index_pictures", "Pictures in the index.", ["index"], **own)
        self._waiting = Gauge("beholder_waiting", "Requests that wait now.", ["index", "lane"], **own)
        self._reloads = Counter("beholder_reloads", "Changed indexes opened, or not.", ["index", "outcome"], **own)
        self._fallbacks = Counter("beholder_rewrite_fallbacks", "Rewrites not used, by reason.", ["reason"], **own)
        told = "Answers of the critic: said, kept from before, or none that is usable."
        self._critiques = Counter("beholder_critiques", told, ["outcome"], **own)
        self._unsaid = Counter("beholder_critique_fallbacks", "Critiques without words, by reason.", ["reason"], **own)
        self._critic_waiting = Gauge("beholder_critic_waiting", "Questions that the critic has not answered.", **own)

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def observe_stages(self, seconds: dict[str, float]) -> None:
        for stage, spent in seconds.items():
            self._stages.labels(stage).inc(max(spent, 0.0))

    def batch_observer(self, index: str, lane: str) -> Callable[[int, float], None]:
        sizes, waits = self._batches.labels(index, lane), self._waits.labels(index, lane)

        def observe(size: int, wait_s: float) -> None:
            sizes.observe(size)
            waits.observe(wait_s)

        return observe

    def watch_queue(self, index: str, lane: str, length: Callable[[], int]) -> None:
        self._waiting.labels(index, lane).set_function(length)

    def set_pictures(self, index: str, count: int) -> None:
        self._pictures.labels(index).set(count)

    def count_reload(self, index: str, outcome: str) -> None:
        self._reloads.labels(index, outcome).inc()

    def count_fallback(self, reason: str) -> None:
        self._fallbacks.labels(reason).inc()

    def count_critique(self, outcome: str, reason: str = "") -> None:
        self._critiques.labels(outcome).inc()
        if reason:
            self._unsaid.labels(reason).inc()

    def watch_critic(self, length: Callable[[], int]) -> None:
        self._critic_waiting.set_function(length)

    def text(self) -> bytes:
        return generate_latest(self.registry)
