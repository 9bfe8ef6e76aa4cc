"""Damage to an INDEX folder, by seed: bytes of a file or values of the manifest, with or without new sha256."""

import json
import random
import shutil
import struct
from pathlib import Path

from indexes.records.manifest import sha256_file

NUMBERS = (-1, 0, 1, 2**15, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**62, 2**63 - 1, -(2**63))
VALUES = (None, True, -1, 0, 1e400, float("nan"), 2**31, 2**63, 10**30, "", "x", "../../etc/passwd", [], {}, [[]], "\0")


def mutate(source: Path, target: Path, seed: int) -> str:
    """Copies the folder, damages the copy and says how. Odd seeds write the new sizes and sha256 into the
    manifest, so that the damage is met by the readers behind them."""
    rng = random.Random(seed)
    shutil.copytree(source, target)
    files = sorted(
        str(path.relative_to(target)) for path in target.rglob("*") if path.is_file() and path.stat().st_size
    )
    faiss = next(name for name in files if name.endswith("index.faiss"))
    chosen = rng.choice([*files, faiss, faiss])
    if chosen == "manifest.json":
        return _mutate_manifest(target / chosen, rng)
    path = target / chosen
    content = bytearray(path.read_bytes())
    said = _mutate_bytes(content, rng)
    path.write_bytes(content)
    if seed % 2:
        _record_again(target)
    return f"{chosen.rsplit('/', 1)[-1]}: {said}{', sha256 recomputed' if seed % 2 else ''}"


def _mutate_bytes(content: bytearray, rng: random.Random) -> str:
    kind = rng.choice(["flip", "number", "number", "number", "cut", "grow", "zero", "move"])
    near = rng.choice([len(content), len(content), 64, 300, 2000])  # headers and footers are where numbers lead astray
    place = rng.randrange(min(near, len(content)))
    if rng.random() < 0.3:
        place = len(content) - 1 - place
    if kind == "flip":
        for _ in range(rng.choice([1, 1, 8, 64])):
            content[min(len(content) - 1, place + rng.randrange(64))] ^= 1 << rng.randrange(8)
    elif kind == "number":
        number, form = rng.choice(NUMBERS), rng.choice(["<q", "<i"])
        packed = struct.pack("<q", number)[: struct.calcsize(form)]
        place -= place % rng.choice([1, 4])
        content[place : place + len(packed)] = packed[: len(content) - place]
    elif kind == "cut":
        del content[place:]
    elif kind == "grow":
        content += bytes(rng.randrange(256) for _ in range(rng.choice([1, 8, 5000])))
    elif kind == "zero":
        length = min(rng.choice([8, 500, len(content)]), len(content) - place)
        content[place : place + length] = bytes(length)
    else:
        part = content[place : place + 200]
        start = rng.randrange(len(content))
        content[start : start + len(part)] = part[: len(content) - start]
    return f"{kind} at {place} of {len(content)}"


def _mutate_manifest(path: Path, rng: random.Random) -> str:
    if rng.random() < 0.25:
        content = bytearray(path.read_bytes())
        said = _mutate_bytes(content, rng)
        path.write_bytes(content)
        return f"manifest: {said}"
    content = json.loads(path.read_text())
    node, key, trail = content, rng.choice(sorted(content)), []
    while True:
        trail.append(str(key))
        inside = node[key]
        if isinstance(inside, dict | list) and inside and rng.random() < 0.8:
            node, key = inside, rng.choice(sorted(inside) if isinstance(inside, dict) else range(len(inside)))
            continue
        break
    if rng.random() < 0.2:
        del node[key]
        said = "removed"
    else:
        node[key] = rng.choice(VALUES)
        said = repr(node[key])
    path.write_text(json.dumps(content))
    return f"manifest {'.'.join(trail)}: {said}"


def _record_again(folder: Path) -> None:
    """Writes the sizes and sha256 of the files as they are now into the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for holder in (*manifest["segments"], *manifest["scores"]):
        for record in holder.values():
            if isinstance(record, dict) and "path" in record:
                path = folder / record["path"]
                record |= {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    if "queries" in manifest["settings"]:
        path = folder / manifest["settings"]["queries"]["path"]
        manifest["settings"]["queries"] |= {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
