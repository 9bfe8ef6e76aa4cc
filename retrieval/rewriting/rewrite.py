"""Rewriting: a query to the text that the encoder sees. `load_rewriter(spec)`; each rewriter falls back visibly.

Our implementation of the published idea (2406.09397, section on rewriting); its prompts are not public in readable
form, so ours are versioned files (`prompts/`). Specs, as `--rewrite` takes them:

    none                       the query as typed
    template                   offline: what fits the kind of subject (prompts/template-1.txt)
    repeat                     control: the query again and again, as long as a rewrite
    suffix or suffix:WORDS     the same words behind every query
    file:TSV                   recorded rewrites (table.py)
    llm:MODEL[@URL][#ARM]      any OpenAI-compatible server
    hf:MODEL[#ARM]             a local model of transformers, by folder or hub name

ARM is one of detail (default), k-list or k-list=K, kw-dict, reorg (a control that adds nothing), pattern (words with a
mark where the query stands). A folder made by `align rewriter` names its own.
"""

from pathlib import Path

from indexes.errors import BeholderError
from retrieval.encoding.encoder import TextEncoder

from .rewriter import Rewriter, RewriteSettings

SPECS = "none", "template", "repeat", "suffix:WORDS", "file:TSV", "llm:MODEL[@URL][#ARM]", "hf:MODEL[#ARM]"


def load_rewriter(
    spec: str, settings: RewriteSettings | None = None, *, encoder: TextEncoder | None = None
) -> Rewriter:
    """The rewriter of a spec. `encoder`: of the index that will be searched; with it rewrites are held to what its
    text tower reads and to the query's topic. Without it neither is looked at.

    Raises BeholderError for a spec that is none, a file that cannot be read, a model that cannot be loaded.
    """
    from .checks import Gate
    from .offline import Nothing, Repeat, Suffix, Template

    settings = settings or RewriteSettings()
    kind, colon, rest = spec.partition(":")
    gate = Gate(encoder, settings.topic_floor)
    if spec in ("", "none"):
        return Nothing()
    if spec == "template":
        return Template(gate)
    if spec == "repeat":
        return Repeat(gate)
    if kind == "suffix" and (rest.strip() or not colon):
        return Suffix(gate, rest)
    if kind == "file" and rest:
        from .table import RecordedRewrites

        return RecordedRewrites(Path(rest), gate)
    if kind in ("llm", "hf") and rest:
        from .model import load_model_rewriter

        return load_model_rewriter(spec, settings, gate)
    raise BeholderError(f"there is no rewriter {spec!r}", ", ".join(SPECS), "Example: --rewrite template")
