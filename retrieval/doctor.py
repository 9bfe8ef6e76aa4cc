"""Checks of this machine, each a name, a finding and, where it is wanting, a remedy."""

import importlib
import importlib.metadata
import os
import platform
from dataclasses import dataclass

PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "transformers",
    "trl",
    "numpy",
    "pyarrow",
    "pillow",
    "typer",
)


@dataclass(frozen=True)
class Finding:
    name: str
    found: str
    ok: bool
    remedy: str = ""
    optional: bool = False  # wanting it is no fault: a GPU, an extra


def examine() -> list[Finding]:
    """Every check, in the order in which one would look."""
    return [_python(), *(_package(name) for name in PACKAGES), _torchvision(), _faiss(), *_devices(), _box()]


def _python() -> Finding:
    version = platform.python_version_tuple()
    ok = (3, 11) <= (int(version[0]), int(version[1])) < (3, 14)
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return Finding("python", found, ok, "" if ok else "Use Python 3.11, 3.12 or 3.13.")


def _package(name: str) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name), True)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "not installed", False, "pip install -c constraints.txt -e .")


def _torchvision() -> Finding:
    """torch and torchvision of different builds import, then fail: open_clip would die with them."""
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # a broken build raises RuntimeError, a missing one ImportError, a bad one OSError
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        return Finding("torchvision", found, False, "Install torch and torchvision together, from the same place.")
    return Finding("torchvision", "imports beside this torch", True)


def _faiss() -> Finding:
    try:
        faiss = importlib.import_module("faiss")
    except ImportError as error:
        remedy = "pip install faiss-gpu (Linux x86-64) or faiss-cpu; never both, they own the same folder."
        return Finding("faiss", f"does not import: {error}", False, remedy)
    return Finding("faiss", f"{faiss.__version__}, {faiss.get_compile_options().strip()}", True)


def _devices() -> list[Finding]:
    try:
        torch, faiss = importlib.import_module("torch"), importlib.import_module("faiss")
    except ImportError:
        return []
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(torch.cuda.get_device_name(number) for number in range(seen)) or "no CUDA device"
    remedy = "" if seen else "None is needed. If there is one, check `nvidia-smi` and the driver's CUDA version."
    findings = [Finding("torch gpu", names, bool(seen), remedy, optional=True)]
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    if gpus:
        findings.append(Finding("faiss gpu", f"{gpus} device(s)", True))
    else:
        remedy = "pip install faiss-gpu" if seen else "None is needed; searches run on the CPU."
        findings.append(Finding("faiss gpu", "sees none", False, remedy, optional=True))
    return [*findings, _gpu_search()]


def _gpu_search() -> Finding:
    """Which library searches where `device cuda` is asked for."""
    from .encoding import torch_exact

    said = {
        "faiss": "by FAISS: Flat, IVF-Flat, IVF-SQ8, IVF-PQ",
        "torch": "by torch, exactly: Flat indexes only",
        "": "no GPU: device cuda is refused",
    }
    path = torch_exact.gpu_path()
    remedy = "pip install faiss-gpu, for other kinds of index too." if path == "torch" else ""
    return Finding("gpu search", said[path], bool(path), remedy, optional=True)


def _box() -> Finding:
    from retrieval.encoding.encoders import MODELS

    found = sorted(path.parent.name for path in MODELS.glob("*/open_clip_model.safetensors"))
    remedy = "" if found else "The package was built without its models: install it from a full checkout."
    return Finding("models", ", ".join(found) or "none in the box", bool(found), remedy)
