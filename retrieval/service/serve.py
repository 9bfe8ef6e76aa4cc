"""The service as a process: opens the indexes, listens, looks for changed indexes, ends without dropping a request."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from indexes.errors import BeholderError
from retrieval.critic.critic import CriticSettings, load_critic
from retrieval.rewriting.rewrite import load_rewriter
from retrieval.search.rerankers import load_reranker
from retrieval.votes import VoteBook

from .config import ServeConfig
from .critic_desk import CriticDesk
from .critique import critique_router
from .errors import Hidden
from .gate import Application, Gate
from .knn_service import knn_router
from .metrics import Metrics
from .page import page_router
from .requests import Reader
from .served_index import ServedIndex
from .service import Service, make_application
from .state import state_router
from .taste import taste_router

LOG = logging.getLogger("beholder.service")
BACKLOG = 2048  # connections that wait to be accepted


def open_service(config: ServeConfig) -> Service:
    """The service of a configuration, with its indexes open. Raises BeholderError for an index that cannot be."""
    for _, spec in config.rerankers:
        load_reranker(spec)
    for _, spec in config.rewriters:
        if not spec.startswith("hf:"):  # a model is loaded when it is first asked for
            load_rewriter(spec)
    metrics = Metrics()
    desk = None if config.critic is None else _desk(config.critic, config, metrics)
    indexes = {name: ServedIndex(name, folder, config, metrics) for name, folder in config.indexes}
    if config.preload:
        for served in indexes.values():
            served.preload()
    roots = [(f"pictures of {name}", served.opened.pictures.root) for name, served in indexes.items()]
    critics = [] if desk is None or config.critic is None else [(desk.name, config.critic)]
    hidden = Hidden([*config.indexes, *roots], [*config.rewriters, *config.rerankers, *critics])
    return Service(config, indexes, metrics, Reader(config), hidden, desk)


def _desk(spec: str, config: ServeConfig, metrics: Metrics) -> CriticDesk:
    """The critic of a spec, loaded with the first question. Raises BeholderError for a spec that is none."""
    settings = CriticSettings(device=config.device, timeout_s=config.slow_timeout_s)
    return CriticDesk(
        load_critic(spec, settings),
        metrics,
        timeout_s=config.slow_timeout_s,
        most_waiting=config.critic_waiting,
        at_once=settings.concurrency,
    )


def application(service: Service, votes: Path, started: Callable[[], None] = lambda: None) -> Application:
    """All routes behind the gate. started: called when requests are about to be answered."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(_watch(service))
        started()
        yield
        watch.cancel()
        await asyncio.to_thread(service.close)

    routers = [
        state_router(service),
        critique_router(service),
        knn_router(service),
        taste_router(service.find, VoteBook(votes)),
        page_router(),
    ]
    app = make_application(service, routers, lifespan)
    config = service.config
    gate: Application = Gate(app, config, service.metrics.observe_request)
    if config.origins:  # outermost: a page of another origin must be able to read a refusal, too
        gate = CORSMiddleware(gate, allow_origins=config.origins, allow_methods=["*"], allow_headers=["*"])
    return gate


async def _watch(service: Service) -> None:
    """Opens indexes again that have changed: every `watch_s` seconds, and all of them on SIGHUP."""
    hung_up = asyncio.Event()
    with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; a loop that is not the main thread's
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up.set)
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hung_up.wait(), service.config.watch_s or None)
        force = hung_up.is_set()
        hung_up.clear()
        for served in service.indexes.values():
            try:
                if await asyncio.to_thread(served.reload, force=force):
                    LOG.warning("%s: opened again, %s pictures", served.name, len(served.opened.index))
            except (BeholderError, OSError) as error:
                LOG.error("%s: what was open stays so, for the folder cannot be opened: %s", served.name, error)


def listening(config: ServeConfig) -> socket.socket:
    """A socket that listens. Raises BeholderError where the address cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        return socket.create_server((config.host, config.port), family=family, backlog=BACKLOG)
    except OSError as error:
        found = f"{config.host}:{config.port} cannot be listened on ({error.strerror or error})"
        raise BeholderError(found, "a free port of this machine", "Choose another with --port.") from error


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(config: ServeConfig, votes: Path, told: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT; what is being answered then is answered. told: one line when it is ready."""
    service = open_service(config)
    listener = listening(config)
    names = ", ".join(f"{name} ({len(served.opened.index):,} pictures)" for name, served in service.indexes.items())
    app = application(service, votes, lambda: told(f"{names} at {address_of(listener)}"))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises them again when all is done: that is no failure
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=max(1, round(config.drain_s)),
            proxy_headers=False,  # nothing here believes a header about who is asking
        )
    )
    server.run(sockets=[listener])
    if not server.started:
        raise BeholderError("the service did not start; the lines above say why", "a service that starts")
