"""Judges by name, behind one interface: verdicts on pairs of rows.

llm:MODEL[@URL]                    any OpenAI-compatible server with a model that sees
hf:MODEL                           a local model of transformers that sees, by folder or hub name
critic:CRITIC                      a critic, by what it prefers: one in the box, FOLDER, hf:MODEL, llm:MODEL[@URL]
offline[:ENCODER][@SCORER,...]     no model that judges: text relevance, scorers, spread (offline.py)
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import sha256_bytes
from retrieval.critic.critic import load_critic
from retrieval.critic.questions import JUDGED
from retrieval.critic.shown import MAX_SIDE_PX
from retrieval.critic.verdicts import CriticJudge
from retrieval.language.asking import AskSettings, open_chat, split_model
from retrieval.language.judge import KINDS, Judge
from retrieval.language.judge_sheet import TILE
from retrieval.rewriting.table import read_rewrites

from .loaded import LoadedJudge

PROMPT_VERSION = 2  # of prompts/judge-KIND-N.txt: the ones that ask for a reason
# Words in models' names that tell whose taste they have. What is built on another's model has both.
FAMILIES = {
    "OpenAI": ("gpt", "chatgpt", "davinci", "o1", "o3", "o4"),
    "Google": ("gemini", "gemma", "paligemma", "palm"),
    "Anthropic": ("claude",),
    "Alibaba": ("qwen", "qwq", "qvq", "tongyi"),
    "Meta": ("llama", "llava"),
    "Mistral": ("mistral", "mixtral", "pixtral", "ministral"),
    "Microsoft": ("phi", "florence", "kosmos"),
    "DeepSeek": ("deepseek", "janus"),
    "OpenGVLab": ("internvl", "internlm"),
    "Zhipu": ("glm", "cogvlm"),
    "Hugging Face": ("smolvlm", "smollm", "idefics", "zephyr"),
    "OpenBMB": ("minicpm",),
    "Allen AI": ("molmo", "olmo", "tulu"),
    "xAI": ("grok",),
    "Moonshot": ("kimi", "moonlight"),
}


def load_judge(spec: str, kind: str, settings: AskSettings) -> LoadedJudge:
    """Raises BeholderError for a spec that is none of the above."""
    scheme, _, rest = spec.partition(":")
    if spec.partition("@")[0].partition(":")[0] == "offline":
        from .offline import load_offline

        return load_offline(spec.removeprefix("offline").removeprefix(":"), settings.device)
    if scheme == "critic" and rest:
        return _critic(rest, kind, settings)
    if scheme not in ("llm", "hf") or not rest:
        expected = "llm:MODEL[@URL], hf:MODEL, critic:CRITIC or offline[:ENCODER][@SCORER,...]"
        raise BeholderError(
            f"there is no judge {spec!r}", expected, "Example: --judge llm:qwen3-vl@http://host:8000/v1"
        )
    if scheme == "hf":
        from retrieval.language.local_vision import LocalVisionModel

        local = LocalVisionModel(rest, settings.device, settings.max_answer_tokens, settings.answers)
        name = f"hf:{Path(rest).name if Path(rest).is_dir() else rest}"
        return _judge(local, name, {"model": local.identity}, kind, settings)
    client = open_chat(rest, settings)
    model = client.config.model
    server = sha256_bytes(client.url.encode())[:16]  # told apart, and not told
    return _judge(client, f"llm:{model}", {"model": model, "server": server}, kind, settings)


def _judge(model: Any, name: str, known: Mapping[str, Any], kind: str, settings: AskSettings) -> LoadedJudge:
    prompt = f"judge-{kind}-{PROMPT_VERSION}"
    if kind not in KINDS:
        raise BeholderError(f"there is no kind of judge {kind!r}", ", ".join(KINDS), "Example: ranker")
    judge = Judge(model, kind, prompt=prompt)
    shown = {"prompt": prompt, "prompt_sha256": judge.prompt.sha256, "tile_px": TILE}
    return LoadedJudge(judge, name, {"name": name, "kind": kind, **known, **shown,
                                     "max_answer_tokens": settings.max_answer_tokens})  # fmt: skip


def _critic(spec: str, kind: str, settings: AskSettings) -> LoadedJudge:
    if kind != "ranker":
        raise BeholderError(f"a critic as {kind}", "--kind ranker: it says which one is better", "Leave --kind out.")
    critic = load_critic(spec, settings)
    judge = CriticJudge(critic, JUDGED)
    name = f"critic:{critic.name}"
    asked = {aspect: [one.pictures, one.rows] for aspect, one in JUDGED.items()}
    decides: dict[str, Any] = {"name": name, "kind": "critic", "model": critic.identity, "questions": asked}
    decides |= {"tile_px": TILE, "max_side_px": MAX_SIDE_PX, "max_answer_tokens": settings.max_answer_tokens}
    return LoadedJudge(judge, name, decides, calls=judge.calls)


def families(model: str) -> frozenset[str]:
    """Whose models a name says it is or is built on; the first word of the name where that is not known."""
    words = re.findall(r"[a-z]+\d*", model.lower())
    known = {
        family
        for family, names in FAMILIES.items()
        if any(word == name or (len(name) > 2 and word.startswith(name)) for word in words for name in names)
    }
    first = re.search(r"[a-z]+", model.rpartition("/")[2].lower())
    return frozenset(known or ({first[0]} if first else set()))


def models_of(rewrite: str, rerank: Sequence[str]) -> dict[str, str]:
    """What a system's search settings ask language models for -> the model's name."""
    found = {}
    for spec in (rewrite, *rerank):
        scheme, _, rest = spec.removeprefix("lmm@").partition(":")
        named = rest.partition("#")[0]
        if scheme in ("llm", "lmm"):
            found[f"{scheme}:{split_model(named)[0]}"] = split_model(named)[0]
        elif scheme == "hf":
            found[f"hf:{Path(named).name}"] = Path(named).name if Path(named).is_dir() else named
        elif scheme == "file":
            recorded = _recorded(Path(rest))
            if recorded:
                found[f"file:{Path(rest).name}"] = recorded
        elif spec.startswith("lmm@"):
            name = Path(scheme.partition("#")[0]).name
            found[f"lmm@{name}"] = name
    return found


def kinship(judge: str, systems: Mapping[str, tuple[str, Sequence[str]]]) -> list[str]:
    """Warnings where the judge and what rewrote or ranked are of one family. systems: label -> (rewrite, rerank)."""
    scheme, _, model = judge.removeprefix("critic:").partition(":")
    if scheme not in ("llm", "hf"):
        if not judge.startswith("critic:"):
            return []
        model = Path(scheme).name
    warnings = []
    for label, (rewrite, rerank) in systems.items():
        for spec, other in models_of(rewrite, rerank).items():
            shared = families(split_model(model)[0] if scheme == "llm" else model) & families(other)
            if shared:
                who = " and ".join(sorted(shared))
                text = f"Warning: the judge and {spec} of system {label} are of one family ({who}): they share a taste."
                warnings.append(text)
    return list(dict.fromkeys(warnings))


def _recorded(path: Path) -> str:
    """The model that a table of rewrites says it is from; "" where it says none, or none wrote it."""
    try:
        provenance, _ = read_rewrites(path)
    except FormatError:
        return ""  # the rewriter will say so
    rewriter = str(provenance.get("rewriter", ""))
    scheme, _, rest = rewriter.partition(":")
    return rest.partition("#")[0] if scheme in ("llm", "hf") else ""
