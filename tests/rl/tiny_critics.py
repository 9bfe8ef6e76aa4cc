"""Vision-language models of a few thousand random weights, one of each family that critics are trained from, with
byte-level tokenizers; pictures and conversations to train them on."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from retrieval.conversations import Conversation, Turn, write_conversations

SIDE, PATCH, WIDTH = 28, 14, 32
SPECIAL = ["<s>", "</s>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
SPECIAL += ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {% for part in m.content %}{% if part.type == 'image' %}IMAGE"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% if m.role == 'assistant' %}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
FAMILIES = ["llava", "llava_next", "smolvlm", "qwen2_vl"]
SEEING = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
          "image_size": SIDE, "patch_size": PATCH}  # fmt: skip
SAYING: dict[str, Any] = {
    "vocab_size": 272, "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 257,
}  # fmt: skip


def write_critic(folder: Path, family: str, template: str = TEMPLATE) -> Path:
    """A model and its processor."""
    import torch

    torch.manual_seed(0)
    model, processor, image = {"llava": _llava, "llava_next": _next, "smolvlm": _smol, "qwen2_vl": _qwen}[family]()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(10)  # what is frozen here must be able to tell words apart
    processor.chat_template = template.replace("IMAGE", image)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={character: place for place, character in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def _clip_pictures() -> Any:
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def _llava() -> tuple[Any, Any, str]:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    parts = CLIPVisionConfig(**SEEING), LlamaConfig(**SAYING)
    config = LlavaConfig(vision_config=parts[0], text_config=parts[1], image_token_id=258, vision_feature_layer=-1)
    processor = LlavaProcessor(
        _clip_pictures(), _tokenizer(), patch_size=PATCH, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip
    return LlavaForConditionalGeneration(config), processor, "<image>"


def _next() -> tuple[Any, Any, str]:
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    grid = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE]]
    parts = CLIPVisionConfig(**SEEING), LlamaConfig(**SAYING)
    config = LlavaNextConfig(
        vision_config=parts[0],
        text_config=parts[1],
        image_token_id=258,
        vision_feature_layer=-1,
        image_grid_pinpoints=grid,
    )
    pictures = LlavaNextImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=grid
    )
    processor = LlavaNextProcessor(
        pictures, _tokenizer(), patch_size=PATCH, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip
    return LlavaNextForConditionalGeneration(config), processor, "<image>"


def _smol() -> tuple[Any, Any, str]:
    """SmolVLM's model with the processor of Idefics3, its elder: SmolVLM's own needs num2words, for videos."""
    from transformers import Idefics3ImageProcessor, Idefics3Processor, SmolVLMConfig, SmolVLMForConditionalGeneration

    config = SmolVLMConfig(
        vision_config=SEEING,
        text_config={"model_type": "llama", **SAYING},
        image_token_id=258,
        scale_factor=1,
        pad_token_id=257,
    )
    edge = {"longest_edge": SIDE}
    pictures = Idefics3ImageProcessor(size=edge, max_image_size=edge, do_image_splitting=False)
    return (
        SmolVLMForConditionalGeneration(config),
        Idefics3Processor(pictures, _tokenizer(), image_seq_len=4),
        "<image>",
    )


def _qwen() -> tuple[Any, Any, str]:
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    seeing = {"depth": 2, "embed_dim": 16, "hidden_size": WIDTH, "num_heads": 2, "mlp_ratio": 2, "patch_size": PATCH}
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
    ids = {"image_token_id": 262, "video_token_id": 263, "vision_start_token_id": 264, "vision_end_token_id": 265}
    config = Qwen2VLConfig(vision_config=seeing, text_config={**SAYING, "rope_parameters": rope}, **ids)
    least = {"min_pixels": SIDE * SIDE, "max_pixels": 4 * SIDE * SIDE}
    processor = Qwen2VLProcessor(Qwen2VLImageProcessor(**least), _tokenizer(), Qwen2VLVideoProcessor())
    return Qwen2VLForConditionalGeneration(config), processor, "<|vision_start|><|image_pad|><|vision_end|>"


def write_pictures(folder: Path, count: int = 8) -> Path:
    """0.png ... of one colour each, wider than high."""
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.full((30, 50, 3), 255 * number // count, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def talk(number: int, *, turns: int = 1, split: str = "train", rejected: str = "") -> Conversation:
    """Questions about N.png and answers of a few letters."""
    said: list[Turn] = []
    for place in range(turns):
        said.append(Turn("user", f"{'<image>' if place == 0 else ''}\nHow is it?"))
        said.append(Turn("assistant", "It is dark." if number < 4 else "It is light."))
    return Conversation((f"{number}.png",), tuple(said), "tiny", split=split, rejected=rejected)


def write_talks(path: Path, talks: list[Conversation]) -> Path:
    write_conversations(path, talks, {"made": "by hand"})
    return path
