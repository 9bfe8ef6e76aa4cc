"""A build of an index in a process of its own, so that its memory can be told; prints what it took as JSON.

Usage: python -m benchmarks.speed.timed_build EMBEDDINGS INDEX QUERIES.npy KNN_RECALL MEMORY_BYTES FACTORY
"""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    embeddings, index, queries, knn_recall, memory, factory = sys.argv[1:]
    import faiss  # noqa: F401  before the clock: a program imports once
    import numpy as np

    from indexes.building.build import IndexConfig, build_index
    from indexes.engine.memory import PeakMemory

    vectors = np.load(queries)
    config = IndexConfig(factory=factory, knn_recall=float(knn_recall), memory=int(memory))
    started, worked = time.perf_counter(), time.process_time()
    with PeakMemory() as peak:
        manifest = build_index(Path(embeddings), Path(index), config, query_vectors=vectors, query_kind="text")
    answer = {
        "seconds": time.perf_counter() - started,
        "core_seconds": time.process_time() - worked,  # of all threads: does not grow when others use the cores
        "peak_bytes": peak.bytes,
        "factory": manifest.factory,
        "parameters": manifest.parameters,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
