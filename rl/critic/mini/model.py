"""The small critic in LLaVA's layout: a frozen ViT, a projector, a Llama; loaded by transformers with no code of ours.

A prompt is `<s>`, the pictures' tokens with `</p>` behind each, `<q>` question `<a>`, and the answer begins with a
space and ends with `</s>`. Pictures are squashed to a square: nothing is cut away, so what is said holds of all of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .config import MiniConfig
from .tower import convert_tower, read_tower

BEGIN, END, PAD, IMAGE, SEEN, ASK, ANSWER = "<s>", "</s>", "<pad>", "<image>", "</p>", "<q>", "<a>"
SPECIAL = (PAD, BEGIN, END, IMAGE, SEEN, ASK, ANSWER)
PATCH = 16
TEMPLATE = (
    "<s>{% for m in messages %}{% if m.role == 'assistant' %} {% else %}"
    "{% if m.content is not string %}{% for part in m.content %}{% if part.type == 'image' %}<image></p>{% endif %}"
    "{% endfor %}{% endif %}<q>{% endif %}"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}{% if part.type == 'text' %}"
    "{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "{% if m.role == 'assistant' %}</s>{% elif m.role == 'user' %}<a>{% endif %}{% endfor %}"
)


def make_tokenizer(texts: list[str], vocabulary: int) -> Any:
    """Byte-level pairs learnt from these texts; nothing is unknown to it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[IMAGE, SEEN, ASK, ANSWER],
        clean_up_tokenization_spaces=False,
    )


def make_processor(tokenizer: Any, side: int) -> Any:
    """Pictures and texts to what the model takes."""
    from transformers import LlavaProcessor

    return LlavaProcessor(
        make_image_processor(side),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=1,  # the class token
        chat_template=TEMPLATE,
        image_token=IMAGE,
    )


def make_image_processor(side: int) -> Any:
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(
        size={"height": side, "width": side},
        crop_size={"height": side, "width": side},
        do_center_crop=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        do_convert_rgb=True,
    )


def make_model(config: MiniConfig, tokenizer: Any) -> Any:
    """The model in float32: the tower as it is read, all else drawn from the seed."""
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    seeing, state = convert_tower(read_tower(config.tower), config.side, config.tower_heads)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    saying = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=config.inner,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=config.context,
        tie_word_embeddings=True,
        bos_token_id=ids[BEGIN],
        eos_token_id=ids[END],
        pad_token_id=ids[PAD],
    )
    torch.manual_seed(config.seed)
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=seeing,
            text_config=saying,
            image_token_id=ids[IMAGE],
            image_seq_length=1 + (config.side // PATCH) ** 2,
            vision_feature_layer=list(config.layers),
            vision_feature_select_strategy="full",
        )
    )
    tower = model.model.vision_tower
    for value in tower.pooler.parameters():  # nobody reads it, and it is there
        torch.nn.init.zeros_(value)
    tower.load_state_dict({**state, **{f"pooler.{name}": value for name, value in tower.pooler.state_dict().items()}})
    tower.requires_grad_(False)
    made = model.generation_config
    made.bos_token_id, made.eos_token_id, made.pad_token_id = ids[BEGIN], ids[END], ids[PAD]
    made.suppress_tokens = [ids[name] for name in (PAD, BEGIN, IMAGE, SEEN, ASK, ANSWER)]
    made.do_sample = False
    return model


def standardise(model: Any, mean: torch.Tensor, deviation: torch.Tensor) -> None:
    """Makes the projector's first layer see features of mean 0 and deviation 1: layers of the tower differ in size a
    hundredfold."""
    first = model.model.multi_modal_projector.linear_1
    with torch.no_grad():
        torch.nn.init.normal_(first.weight, std=first.in_features**-0.5)
        first.weight.div_(deviation.clamp(min=1e-3))
        first.bias.copy_(-(first.weight @ mean))


def save_critic(model: Any, processor: Any, folder: Path) -> None:
    """Writes the folder that transformers loads, weights in float16, for everyone to read."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # it draws on stderr even where that is a file
    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors keeps its files to their owner
