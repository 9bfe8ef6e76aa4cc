"""A Llama of a few million weights whose words begin as vectors of a text tower: a rewriter that trains on a CPU.

Its vocabulary: the words of given texts, and the words that the encoder's own tokenizer knows, the most frequent first
(WordPiece vocabularies are ordered so). Each word starts as the encoder's vector of it, reduced by PCA: words that
the texts never had still lie near those that they had. It has read nothing else: it only rewrites.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from retrieval.encoding.encoders import find_folder, load_encoder
from retrieval.rewriting.arms import MARK

PAD, END, ASK, UNKNOWN = "<pad>", "</s>", "<answer>", "<unk>"
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}" + ASK + "{% elif m.role == 'assistant' %}"
    "{{ m.content }}" + END + "{% endif %}{% endfor %}"
)  # instructions would be a hundred words that it cannot follow
SIGNS = string.punctuation + string.digits


@dataclass(frozen=True)
class SmallLlama:
    """Sizes. `words`: of the encoder's vocabulary beside those of the texts."""

    width: int = 128
    layers: int = 3
    heads: int = 4
    words: int = 3000
    context: int = 512
    spread: float = 0.1  # standard deviation of the word vectors; less, and the first steps go into making them longer
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.heads, self.context) < 1 or self.words < 0 or self.width % self.heads:
            raise BeholderError(f"{self}", "sizes of 1 and more, a width that the heads divide", "Change them.")


def write_small_llama(folder: Path, texts: Sequence[str], encoder: str, config: SmallLlama) -> int:
    """Makes the folder and returns the number of weights. The same texts, encoder and sizes give the same bytes.

    Raises BeholderError for an encoder without a tokenizer.json of words.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    vocabulary = vocabulary_of(texts, known_words(encoder)[: config.words])
    tokenizer = _tokenizer(vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(vocabulary),
                hidden_size=config.width,
                intermediate_size=8 * config.width // 3,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_key_value_heads=config.heads,
                max_position_embeddings=config.context,
                tie_word_embeddings=True,
                pad_token_id=vocabulary[PAD],
                eos_token_id=vocabulary[END],
                bos_token_id=None,
            )
        )
        with torch.no_grad():
            table = model.get_input_embeddings().weight
            table.copy_(torch.from_numpy(word_vectors(list(vocabulary), encoder, config.width)) * config.spread)
    model.generation_config.eos_token_id = vocabulary[END]
    model.generation_config.pad_token_id = vocabulary[PAD]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return int(sum(parameter.numel() for parameter in model.parameters()))


def known_words(encoder: str) -> list[str]:
    """Whole lower-case words of the encoder's tokenizer, in its order."""
    from tokenizers import Tokenizer

    folder = find_folder(encoder)
    if folder is None or not (folder / "tokenizer.json").is_file():
        raise BeholderError(f"{encoder} has no tokenizer.json", "an encoder of words, as beholder-mini", "Use that.")
    content = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    return [word for word, _ in sorted(content.items(), key=lambda one: one[1]) if word.isascii() and word.isalpha()]


def vocabulary_of(texts: Sequence[str], known: Sequence[str]) -> dict[str, int]:
    """Token -> id: what is special, signs, letters as pieces for words that are not known, words of the texts, more."""
    from tokenizers import pre_tokenizers

    split = pre_tokenizers.BertPreTokenizer()
    counts = Counter(word for text in texts for word, _ in split.pre_tokenize_str(text.replace(MARK, " ").casefold()))
    letters = [piece for letter in string.ascii_lowercase + string.digits for piece in (letter, f"##{letter}")]
    words = [PAD, END, ASK, UNKNOWN, MARK, *SIGNS, *letters, *(word for word, _ in counts.most_common()), *known]
    return {word: place for place, word in enumerate(dict.fromkeys(words))}


def word_vectors(words: Sequence[str], encoder: str, width: int) -> NDArray[np.float32]:
    """(V, width), of unit variance: the encoder's vectors of the words alone, by PCA."""
    plain = [word.removeprefix("##") for word in words]
    vectors = load_encoder(encoder).encode_texts(plain)
    centred = vectors - vectors.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    found = centred @ axes[:width].T
    found = np.pad(found, ((0, 0), (0, width - found.shape[1])))
    return np.asarray(found / found.std(), np.float32)


def _tokenizer(vocabulary: dict[str, int]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=40))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.Sequence(
        [decoders.WordPiece(prefix="##", cleanup=True), decoders.Fuse(), decoders.Replace(" - ", "-")]
    )
    tokenizer.add_tokens([AddedToken(MARK, normalized=False)])
    tokenizer.add_special_tokens([PAD, END, ASK, UNKNOWN])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, unk_token=UNKNOWN, clean_up_tokenization_spaces=False
    )
    fast.chat_template = TEMPLATE
    return fast
