"""A LLaVA of half a megabyte for tests: a vision tower and a Llama with random weights, or, with an answer, a table
that says it after any prompt (tiny_llama.py); pictures take their places among the tokens either way."""

from itertools import pairwise
from pathlib import Path

SIDE, PATCH = 28, 14  # 4 patches of a picture
TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}: {% for part in m.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}<s><answer>"
)


def write_llava(folder: Path, answer: list[str] | None, *, template: bool = True, context: int = 4096) -> Path:
    """A model and its processor (bytes, and the pieces of the answer as tokens of their own) in a new folder."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={character: place for place, character in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>", "<answer>", "<image>"])
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in answer or []])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    size = 288  # tokens, and the width: a token is a one-hot vector
    torch.manual_seed(0)
    seeing = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                              image_size=SIDE, patch_size=PATCH, projection_dim=16)  # fmt: skip
    saying = LlamaConfig(vocab_size=size, hidden_size=size, intermediate_size=8, num_hidden_layers=1,
                         num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=context,
                         bos_token_id=256, eos_token_id=257, pad_token_id=257)  # fmt: skip
    image = fast.convert_tokens_to_ids("<image>")
    model = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=seeing, text_config=saying, image_token_id=image, vision_feature_layer=-1)
    )
    if answer is not None:
        says = ["<answer>", *answer, "</s>"]
        llama, head = model.model.language_model, model.lm_head
        with torch.no_grad():
            for layer in llama.layers:
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
            llama.embed_tokens.weight.copy_(torch.eye(size))
            head.weight.zero_()
            for before, after in pairwise(says):
                head.weight[fast.convert_tokens_to_ids(after), fast.convert_tokens_to_ids(before)] = 10
    model.save_pretrained(folder)
    pictures = CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_convert_rgb=True
    )
    LlavaProcessor(
        pictures, fast, patch_size=PATCH, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=TEMPLATE if template else None,
    ).save_pretrained(folder)  # fmt: skip
    return folder
