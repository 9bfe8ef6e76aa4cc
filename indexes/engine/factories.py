"""The kinds of FAISS index that Beholder builds: their strings, their bytes before anything is allocated, and
which of them are worth trying under a bound of memory.

Sizes follow from FAISS's layouts and were compared with serialize_index of FAISS 1.15 (tests/indexes/
test_factories.py does so again).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from indexes.errors import BeholderError

SECTION = re.compile(
    r"(?:OPQ(?P<opq>[1-9][0-9]*),)?(?:IVF(?P<lists>[1-9][0-9]*),)?"
    r"(?:HNSW(?P<graph>[1-9][0-9]*)(?:_(?P<stored>SQ8|SQfp16))?"
    r"|(?P<codes>Flat|SQ8|SQfp16|RaBitQ|PQ(?P<pieces>[1-9][0-9]*)(?P<fast>x4fs)?))"
)
KNOWN = "auto, or [OPQm,][IVFn,]{Flat, SQ8, SQfp16, RaBitQ, PQm, PQmx4fs}, or HNSWm[_SQ8|_SQfp16]"
LIST_BYTES = 64  # of an inverted list beside its codes: two vectors of C++
FAST_SCAN_ROWS = 32  # a list of 4-bit codes is kept in blocks of so many
TRAINED_COPIES = 3  # of the training sample in k-means: the rows, FAISS's copy, and their residuals
TRAINED_LEAST = 16  # training rows per list: with fewer, centres are the rows themselves
BLOCK_ROWS = 16_384  # vectors that a build turns into float32 at once
GRAPH_ROWS = 262_144  # that a graph is given at once, at most: what is added together is linked better
BLOCK_COPIES = 4  # float16, float32, the rotated ones, and FAISS's own scratch of a block
GPU_PIECES = {1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96}  # FAISS's wiki, "Faiss on the GPU"
TRIAL_ROWS = 20_000  # vectors that the planner tries a kind on
OPQ_ROWS = 16_384  # that a rotation is trained on: FAISS's own 65,536 took minutes
AGAIN_WIDTHS = 14  # scoring a candidate again costs as much as scanning 14 * D bytes of codes (64-d, SQ8 and PQ)
FIXED_BYTES = 96 << 20  # items, answers to queries, candidates scored again, pools of Arrow and the allocator


@dataclass(frozen=True)
class Kind:
    """A factory string taken apart. Raises BeholderError in `parse` for a string that is none of ours."""

    factory: str
    opq: int = 0  # pieces that the rotation is trained for, 0: none
    lists: int = 0  # of an IVF index, 0: none
    graph: int = 0  # neighbours of an HNSW node, 0: none
    codes: str = "Flat"  # how vectors are kept: Flat, SQ8, SQfp16, RaBitQ, PQ
    pieces: int = 0  # of a product quantiser
    fast: bool = False  # 4-bit pieces, scanned in registers; else 8-bit

    @property
    def parameter(self) -> str | None:
        """What a search trades time for recall with."""
        return "nprobe" if self.lists else "efSearch" if self.graph else None

    @property
    def lossy(self) -> bool:
        """Whether codes are rougher than the stored float16 vectors, so that candidates are scored again."""
        if self.opq or self.codes in ("SQ8", "RaBitQ", "PQ"):
            return True
        return self.codes == "SQfp16" and bool(self.lists)  # a list's centre is taken off before rounding

    @property
    def rescores(self) -> bool:
        """Whether a search is told how many candidates to score again; a graph scores all that it kept."""
        return self.lossy and not self.graph


def parse(factory: str) -> Kind:
    """Raises BeholderError for a string that Beholder does not build."""
    found = SECTION.fullmatch(factory)
    if not found or (found["graph"] and (found["lists"] or found["opq"])):
        raise BeholderError(f"factory {factory!r}", KNOWN)
    pieces = int(found["pieces"] or 0)
    codes = found["stored"] or found["codes"] or "Flat"
    return Kind(
        factory,
        int(found["opq"] or 0),
        int(found["lists"] or 0),
        int(found["graph"] or 0),
        "PQ" if pieces else codes,
        pieces,
        bool(found["fast"]),
    )


def check_fits(factory: str, count: int, dimension: int) -> Kind:
    """The kind. Raises BeholderError for more lists than vectors, or pieces that do not divide the width."""
    kind = parse(factory)
    if kind.lists > count:
        raise BeholderError(f"{factory} over {count} vectors", "fewer lists than vectors", "Use factory auto.")
    for pieces in (kind.opq, kind.pieces):
        if pieces and dimension % pieces:
            raise BeholderError(f"{factory} over vectors of width {dimension}", f"pieces that divide {dimension}")
    return kind


def lists_for(count: int) -> int:
    """4 * sqrt(N): finding the lists then costs about as much as scanning them."""
    return max(1, min(count, round(4 * math.sqrt(count))))


def rescaled(factory: str, count: int) -> str:
    """The same kind of index for another number of vectors: only the number of lists follows."""
    kind = parse(factory)
    return factory.replace(f"IVF{kind.lists},", f"IVF{lists_for(count)},") if kind.lists else factory


def code_bytes(kind: Kind, dimension: int) -> float:
    """Bytes of one vector's code."""
    if kind.codes == "PQ":
        return kind.pieces / 2 if kind.fast else float(kind.pieces)
    sizes = {"Flat": 4 * dimension, "SQfp16": 2 * dimension, "SQ8": dimension, "RaBitQ": (dimension + 7) // 8 + 8}
    return float(sizes[kind.codes])


def bytes_of(factory: str, count: int, dimension: int) -> int:
    """Bytes that FAISS holds for `count` vectors of width `dimension`, once built."""
    kind = parse(factory)
    total = count * code_bytes(kind, dimension)
    if kind.graph:
        upper = 1 / max(kind.graph - 1, 1)  # levels above the lowest, per node
        total += count * (4 * kind.graph * (2 + upper) + 8 + 4)  # links, offsets, levels
    if kind.lists:
        total += count * 8 + kind.lists * (4 * dimension + LIST_BYTES)  # ids, centres
        if kind.fast:
            total += kind.lists * FAST_SCAN_ROWS / 2 * code_bytes(kind, dimension)  # the last block of each list
        if kind.fast or kind.codes == "RaBitQ":
            total += kind.lists * 4 * dimension // 4  # tables per list
    if kind.codes == "PQ":
        total += (16 if kind.fast else 256) * 4 * dimension  # its centroids
    if kind.opq:
        total += 4 * dimension * dimension
    return int(total)


def training_rows(kind: Kind, count: int, dimension: int, most: int, memory: int) -> int:
    """Rows that k-means sees: 64 to a list, at most `most`, fewer where `memory` bytes (0: any) leave no
    room, and never under TRAINED_LEAST to a list. 0 where nothing is trained."""
    if not kind.lists and kind.codes not in ("SQ8", "PQ", "RaBitQ"):
        return 0
    wanted = min(count, max(most, kind.lists), 64 * kind.lists if kind.lists else 16_384)
    if memory:
        room = (memory - FIXED_BYTES) // (TRAINED_COPIES * 4 * dimension)
        wanted = max(min(wanted, room), min(count, TRAINED_LEAST * max(kind.lists, 256)))
    return int(wanted)


def build_bytes(factory: str, count: int, dimension: int, most: int = 262_144, memory: int = 0) -> int:
    """Most bytes that a build holds at once: while training, or while adding and reading back to tune."""
    kind = parse(factory)
    rows = training_rows(kind, count, dimension, most, memory)
    training = TRAINED_COPIES * 4 * dimension * rows
    if kind.opq:
        training = max(training, 6 * 4 * dimension * min(rows, OPQ_ROWS) + 10 * 8 * dimension * dimension)
    # Lists of 4-bit codes cannot be reserved and grow by half or by doubling.
    growth = 2.0 if kind.fast else 1.0
    adding = growth * bytes_of(factory, count, dimension) + BLOCK_COPIES * BLOCK_ROWS * 4 * dimension
    adding += 8 * count * bool(kind.lists)  # each vector's list
    trial = 3 * 4 * dimension * min(TRIAL_ROWS, count)
    return int(max(training, adding, trial)) + FIXED_BYTES


def graph_rows(factory: str, count: int, dimension: int, memory: int) -> int:
    """Rows that are added to a graph at once: as many as `memory` (0: any) leaves room for, a block at least."""
    most = min(count, GRAPH_ROWS)
    if memory:
        room = memory - FIXED_BYTES - bytes_of(factory, count, dimension) - BLOCK_COPIES * BLOCK_ROWS * 4 * dimension
        most = min(most, room // (4 * dimension))
    return int(max(most, BLOCK_ROWS))


@dataclass(frozen=True)
class Candidate:
    """A kind of index that may be tried for `count` vectors: what it costs before it is allocated."""

    factory: str
    bytes_per_vector: float
    build_bytes: int
    parameter: str | None
    lossy: bool


def candidate(factory: str, count: int, dimension: int, most: int = 262_144, memory: int = 0) -> Candidate:
    kind = check_fits(factory, count, dimension)
    held = bytes_of(factory, count, dimension) / max(count, 1)
    needed = build_bytes(factory, count, dimension, most, memory)
    return Candidate(factory, round(held, 1), needed, kind.parameter, kind.lossy)


def candidates(
    count: int, dimension: int, memory: int = 0, device: str = "cpu", most: int = 262_144
) -> tuple[list[Candidate], list[Candidate]]:
    """(those that fit into `memory` bytes, 0: any; those that do not), in the order in which they are tried.

    A rougher variant of a kind is offered only where the finer one does not fit, save among IVF codes, where
    the rougher ones can be quicker.
    """
    lists = lists_for(count)
    half, quarter = _divisor(dimension, dimension // 2), _divisor(dimension, dimension // 4)
    families = [
        ["Flat", "SQfp16", "RaBitQ"],
        ["HNSW16_SQfp16", "HNSW16_SQ8"],
        [f"IVF{lists},Flat"],
        [f"IVF{lists},SQ8"],
        [f"IVF{lists},PQ{half}x4fs", f"OPQ{quarter},IVF{lists},PQ{quarter}x4fs"],
        [f"IVF{lists},RaBitQ"],
    ]
    if device == "cuda":  # what GPU FAISS has; its PQ is 8-bit and at most 96 pieces
        pieces = max(p for p in range(1, 97) if dimension % p == 0 and p in GPU_PIECES)
        families = [["Flat"], [f"IVF{lists},Flat"], [f"IVF{lists},SQ8"], [f"IVF{lists},PQ{pieces}"]]
    if not count:
        families = [["Flat"]]
    fit, out = [], []
    for family in families:
        for factory in family:
            offered = candidate(factory, count, dimension, most, memory)
            if not memory or offered.build_bytes <= memory:
                fit.append(offered)
                break
            out.append(offered)
    return fit, out


def _divisor(dimension: int, wanted: int) -> int:
    """The greatest divisor of the width that is at most `wanted`, and at least 1."""
    return next(d for d in range(max(wanted, 1), 0, -1) if dimension % d == 0)


def work(kind: Kind, count: int, dimension: int, parameters: Mapping[str, int], k: int) -> float:
    """What a search touches, in bytes of codes: to compare settings of one kind without a clock, so that the
    same build chooses the same ones."""
    scanned = float(count)
    if kind.lists:
        scanned = count * min(1.0, parameters["nprobe"] / kind.lists)
    elif kind.graph:
        scanned = parameters["efSearch"] * kind.graph
    again = parameters.get("candidates", 0) * k * AGAIN_WIDTHS * dimension
    return scanned * code_bytes(kind, dimension) + again


def growth(factory: str, sample: int, count: int) -> float:
    """How many times longer a search over `count` vectors takes than over `sample`: a scan grows with N, lists
    with sqrt(N) (their number and their length both do), a graph with log(N)."""
    kind, times = parse(factory), max(count / max(sample, 1), 1.0)
    if kind.lists:
        return float(times**0.5)
    if kind.graph:
        return math.log(max(count, 2)) / math.log(max(sample, 2))
    return float(times)
