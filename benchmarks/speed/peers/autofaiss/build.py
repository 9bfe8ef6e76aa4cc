"""Builds what autofaiss builds by itself from a folder of .npy vectors under a bound of memory, and prints what
it took as JSON. Started by `beholder bench speed index --autofaiss PYTHON`, in autofaiss's own environment.

Usage: python build.py VECTORS_FOLDER INDEX_FILE MEMORY_BYTES
"""

import json
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[4]))
from indexes.engine.memory import PeakMemory  # needs the standard library alone; measures ours too


def main() -> None:
    vectors, index, memory = sys.argv[1], sys.argv[2], int(sys.argv[3])
    autofaiss = import_module("autofaiss")  # not in the environment that checks types

    # The bound is that of the build's working set; autofaiss wants the index's own bound below it, and by default
    # gives it half (16 of 32 GB).
    available, index_most = f"{memory // 1_000_000}MB", f"{memory // 2_000_000}MB"
    started, worked = time.perf_counter(), time.process_time()
    with PeakMemory() as peak:
        _, about = autofaiss.build_index(
            embeddings=vectors,
            index_path=index,
            index_infos_path=f"{index}.json",
            max_index_memory_usage=index_most,
            current_memory_available=available,
            metric_type="ip",
            verbose=30,
        )
    if about is None:
        raise SystemExit("autofaiss logged an error and built nothing")
    answer = {
        "seconds": time.perf_counter() - started,
        "core_seconds": time.process_time() - worked,  # of all threads: does not grow when others use the cores
        "peak_bytes": peak.bytes,
        "factory": about["index_key"],
        "parameters": about["index_param"],
        "version": version("autofaiss"),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
