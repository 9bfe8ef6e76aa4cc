"""A WordPiece tokenizer without the tokens that English never uses, and the rows of the embedding table to
keep.

A token goes when it is `[unused...]` or has a character outside ASCII: the normaliser lower-cases and strips
accents, so English text cannot reach those. Text in other scripts becomes [UNK], which it nearly was already.
"""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pruned:
    """The tokenizer.json content with new ids, and `kept`: kept[new id] = old id, ascending."""

    tokenizer: dict[str, Any]
    kept: tuple[int, ...]


def is_kept(token: str) -> bool:
    return token.isascii() and not token.startswith("[unused")


def prune(tokenizer: dict[str, Any], context_length: int) -> Pruned:
    """Prunes the content of a WordPiece `tokenizer.json`; relative order of tokens stays, ids close up from
    0.

    Truncation is set to `context_length` tokens; padding is left to the caller.
    """
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    ordered = sorted(((old, token) for token, old in vocabulary.items() if is_kept(token)))
    new_ids = {token: new for new, (_, token) in enumerate(ordered)}
    pruned: dict[str, Any] = json.loads(json.dumps(tokenizer))
    pruned["model"]["vocab"] = new_ids
    pruned["added_tokens"] = [{**added, "id": new_ids[added["content"]]} for added in tokenizer["added_tokens"]]
    for name, special in pruned["post_processor"]["special_tokens"].items():
        special["ids"] = [new_ids[token] for token in tokenizer["post_processor"]["special_tokens"][name]["tokens"]]
    pruned["padding"] = None
    pruned["truncation"] = {**(tokenizer["truncation"] or {}), "max_length": context_length}
    return Pruned(pruned, tuple(old for old, _ in ordered))
