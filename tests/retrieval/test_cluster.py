"""A real Ray cluster of local processes: order, errors, and a killed worker that costs its task alone."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from indexes.engine import faiss_build
from indexes.engine.list_tasks import nearest_lists
from indexes.errors import BeholderError, ConditionFailed
from indexes.records.manifest import record_file
from indexes.records.shards import EmbeddingsManifest, write_shard
from retrieval.encoding.cluster import AHEAD, RETRIES, Cluster
from tests.conftest import ROOT, write_pictures
from tests.retrieval.served import RECORD, items_of, unit_rows
from tests.retrieval.test_pipeline import contents

CHILD = """
import sys
from tests.retrieval.test_cluster import {name}
{name}(*sys.argv[1:])
"""


def run_child(name: str, *arguments: object, timeout: int = 550) -> str:
    """A function of this file in a process of its own: Ray leaves threads and settings behind."""
    command = [sys.executable, "-c", CHILD.format(name=name), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def square(task: tuple[int, str]) -> int:
    """Notes that it was begun; the third is killed the first time."""
    number, folder = task
    place = Path(folder)
    (place / f"{number}-{len(list(place.glob(f'{number}-*')))}").touch()
    if number == 3 and not (place / "3-1").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def deadly(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refusing(number: int) -> int:
    if number == 2:
        raise ConditionFailed("a task found this", "that", "Do so.")
    return number


def whole_story(folder: str) -> None:
    with Cluster("local") as cluster:
        assert list(cluster.map(square, ((number, folder) for number in range(8)))) == [n * n for n in range(8)]
        begun = [path.name.split("-")[0] for path in Path(folder).iterdir()]
        assert sorted(begun) == sorted(["3", *map(str, range(8))]), begun
        found = cluster.map(refusing, range(9))
        assert [next(found), next(found)] == [0, 1]
        with pytest.raises(ConditionFailed, match=r"a task found this; expected that; Do so\."):
            next(found)
        with pytest.raises(BeholderError, match="no machine of the cluster local has 1000 CPUs"):
            next(cluster.map(refusing, [1], cpus=1000))
        with pytest.raises(ConditionFailed, match=f"lost its worker {RETRIES + 1} times"):
            next(cluster.map(deadly, [1]))
    print("done")


@pytest.mark.campaign
def test_a_task_whose_worker_is_killed_is_done_again_and_no_other(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra scale")
    (tmp_path / "begun").mkdir()
    assert "done" in run_child("whole_story", tmp_path / "begun")


def without_ray() -> None:
    sys.modules["ray"] = None  # type: ignore[assignment]
    with pytest.raises(BeholderError, match=r"pip install 'beholder\[scale\]'"):
        Cluster("local").__enter__()


def test_without_ray_the_extra_is_named() -> None:
    run_child("without_ray")


def without_a_cluster() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = f"127.0.0.1:{taken.getsockname()[1]}"
    started = time.monotonic()
    for address, environment in ((free, ""), (f"ray://{free}", ""), ("auto", free)):
        os.environ["RAY_ADDRESS"] = environment
        with pytest.raises(BeholderError, match=r"no Ray cluster at .*--ray local"):
            Cluster(address).__enter__()
    assert time.monotonic() - started < 60


def test_an_address_where_nobody_listens_is_said_soon() -> None:
    pytest.importorskip("ray", reason="needs the extra scale")
    run_child("without_a_cluster")


def embedded(source: str, folder: str, ray: str) -> None:
    from retrieval.encoding.pipeline import EmbedConfig, embed

    config = EmbedConfig(batch_size=4, shard_size=16, workers=0 if ray else 1, threads=1, ray=ray or None)
    embed(source, Path(folder), config)


def workers_at_work() -> list[int]:
    """Ray's worker processes that are in a task, of whatever cluster of this user."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue  # it has ended
        if command.startswith(b"ray::_guarded"):
            found.append(int(entry.name))
    return found


@pytest.mark.campaign
def test_embedding_with_a_killed_worker_gives_the_bytes_of_one_machine(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra scale")
    write_pictures(tmp_path / "pictures", 96)
    run_child("embedded", tmp_path / "pictures", tmp_path / "here", "")
    others = set(workers_at_work())
    command = [sys.executable, "-c", CHILD.format(name="embedded")]
    arguments = [str(tmp_path / "pictures"), str(tmp_path / "there"), "local"]
    child = subprocess.Popen([*command, *arguments], cwd=ROOT)
    deadline = time.monotonic() + 300
    done = tmp_path / "there" / "parts"
    while child.poll() is None and (not list(done.glob("*.json")) or not set(workers_at_work()) - others):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert child.poll() is None, "it ended before a worker could be killed"
    os.kill((set(workers_at_work()) - others).pop(), signal.SIGKILL)
    assert child.wait(timeout=500) == 0
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


MARK = "BEHOLDER_TEST_MARK"  # in the environment, which workers share: a file that the first killed worker leaves


def dying_once(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    mark = Path(os.environ[MARK])
    (mark.parent / f"begun-{os.getpid()}-{time.monotonic_ns()}").touch()
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return nearest_lists(rows, centres)


def built(place: str) -> None:
    from indexes.building.build import IndexConfig, build_index

    folder, config = Path(place), IndexConfig("IVF40,SQ8")
    build_index(folder / "emb", folder / "here", config)
    os.environ[MARK] = str(folder / "marks" / "killed")
    faiss_build.nearest_lists = dying_once
    with Cluster("local") as cluster:
        build_index(folder / "emb", folder / "there", config, tasks=cluster)
    begun = list((folder / "marks").glob("begun-*"))
    assert len(begun) == 8 + 1, begun  # a block a shard, and one of them twice
    for path in sorted((folder / "here").rglob("*.*")):
        if path.is_file() and path.name != ".lock":
            assert (folder / "there" / path.relative_to(folder / "here")).read_bytes() == path.read_bytes(), path
    print("done")


@pytest.mark.campaign
def test_an_index_built_on_a_cluster_is_the_same_bytes_though_a_worker_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra scale")
    (tmp_path / "marks").mkdir()
    (tmp_path / "emb").mkdir()
    shards, rows = [], unit_rows(4000)
    for number, start in enumerate(range(0, 4000, 500)):
        items = items_of(tmp_path, [f"{row}.jpg" for row in range(start, start + 500)])
        ids = np.arange(start, start + 500)
        items = items.set_column(0, "id", pa.array(ids))
        shards.append(write_shard(tmp_path / "emb", number, ids, rows[start : start + 500], items))
    (tmp_path / "emb" / "rejected.jsonl").write_bytes(b"")
    rejected = record_file(tmp_path / "emb", "rejected.jsonl")
    EmbeddingsManifest(RECORD, "../pictures", 4000, rejected, tuple(shards), 4000, {}).write(tmp_path / "emb")
    assert "done" in run_child("built", tmp_path)


def slow_square(task: tuple[int, str]) -> tuple[int, bytes]:
    """Notes that it was begun; what it returns is too large to travel with the answer, and stays on its machine."""
    number, folder = task
    (Path(folder) / f"{number}-{time.monotonic_ns()}").touch()
    time.sleep(0.3)
    return number * number, bytes(300_000)


def a_machine_goes(folder: str) -> None:
    from ray.cluster_utils import Cluster as Machines

    machines = Machines(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = machines.add_node(num_cpus=1)
    machines.wait_for_nodes()
    with Cluster(machines.address) as cluster:
        assert cluster.cpus == 2
        found = cluster.map(slow_square, ((number, folder) for number in range(16)))
        squares = [next(found)[0] for _ in range(5)]
        machines.remove_node(second, allow_graceful=False)
        squares += [result[0] for result in found]
    assert squares == [number * number for number in range(16)]
    again = len(list(Path(folder).iterdir())) - 16
    assert 0 <= again <= 2 * AHEAD, again  # what it was doing, and what it had done and nobody had fetched
    machines.shutdown()
    print("done")


@pytest.mark.campaign
def test_a_machine_that_is_lost_costs_what_it_was_doing(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra scale")
    (tmp_path / "begun").mkdir()
    assert "done" in run_child("a_machine_goes", tmp_path / "begun")
