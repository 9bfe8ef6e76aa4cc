"""A Llama of 0.5 MB for tests. Its attention and MLPs add nothing, so each token alone decides the next, by a table: it
says a fixed answer after any prompt. With random weights instead it says noise, as a broken model does."""

from itertools import pairwise
from pathlib import Path

TEMPLATE = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}{% endfor %}<s><answer>"


def write_llama(folder: Path, answer: list[str] | None, *, template: bool = True, context: int = 4096) -> Path:
    """A model and its tokenizer (bytes, and the pieces of the answer as tokens of their own) in a new folder."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={character: place for place, character in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>", "<answer>"])
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in answer or []])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    if template:
        fast.chat_template = TEMPLATE
    size = 272  # tokens, and the width: a token is a one-hot vector
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=size, hidden_size=size, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
                    num_key_value_heads=2, max_position_embeddings=context, bos_token_id=256, eos_token_id=257,
                    pad_token_id=257)
    )  # fmt: skip
    if answer is not None:
        says = ["<answer>", *answer, "</s>"]
        with torch.no_grad():
            for layer in model.model.layers:
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
            model.model.embed_tokens.weight.copy_(torch.eye(size))
            model.lm_head.weight.zero_()
            for before, after in pairwise(says):
                model.lm_head.weight[fast.convert_tokens_to_ids(after), fast.convert_tokens_to_ids(before)] = 10
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder
