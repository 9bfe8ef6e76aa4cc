"""ArtGPT-4's adapter: the identity at first, the paper's formula after, its counts of parameters, saved alone."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from indexes.errors import BeholderError, FormatError
from retrieval.language.adapter import (
    AdapterConfig,
    decoder_blocks,
    insert_adapters,
    load_adapter,
    parameter_counts,
    save_adapter,
    trained_parameters,
)


def llama(width: int = 32, blocks: int = 3) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=50, hidden_size=width, intermediate_size=48, num_hidden_layers=blocks,
                    num_attention_heads=4, num_key_value_heads=2)
    ).eval()  # fmt: skip


def llava() -> nn.Module:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(0)
    seeing = CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
                              image_size=28, patch_size=14)  # fmt: skip
    saying = LlamaConfig(vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=4,
                         num_attention_heads=4, num_key_value_heads=2)  # fmt: skip
    return LlavaForConditionalGeneration(LlavaConfig(vision_config=seeing, text_config=saying, image_token_id=49))


def smolvlm() -> nn.Module:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    torch.manual_seed(0)
    seeing = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 28, "patch_size": 14}  # fmt: skip
    saying = {"model_type": "llama", "vocab_size": 50, "hidden_size": 32, "intermediate_size": 48,
              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
              "pad_token_id": 0}  # fmt: skip
    config = SmolVLMConfig(vision_config=seeing, text_config=saying, image_token_id=49, scale_factor=1, pad_token_id=0)
    return SmolVLMForConditionalGeneration(config)


def qwen() -> nn.Module:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    torch.manual_seed(0)
    seeing = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
    saying = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
              "num_attention_heads": 4, "num_key_value_heads": 2,
              "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1],
                                  "rope_theta": 10000.0}}  # fmt: skip
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(vision_config=seeing, text_config=saying))


TOKENS = torch.arange(10).reshape(2, 5)


def test_a_new_adapter_changes_nothing_unless_asked_for_the_releases_start() -> None:
    before = llama()(TOKENS).logits
    same, released = llama(), llama()
    insert_adapters(same, AdapterConfig())
    insert_adapters(released, AdapterConfig(init="torch"))
    assert torch.equal(same(TOKENS).logits, before)
    assert not torch.allclose(released(TOKENS).logits, before, atol=1e-3)


def test_a_block_computes_the_papers_three_lines() -> None:
    """Oracle: the block written out by hand, with the attention's own output."""
    model = llama()
    insert_adapters(model, AdapterConfig(init="torch"))
    block = decoder_blocks(model)[1]
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))
    positions = model.model.rotary_emb(x, torch.arange(5)[None])
    block.self_attn._forward_hooks.clear()
    attended, _ = block.self_attn(hidden_states=block.input_layernorm(x), position_embeddings=positions)
    x1 = x + attended
    down, up = block.serial_adapter.down, block.serial_adapter.up
    x2 = x1 + nn.functional.gelu(x1 @ down.weight.T + down.bias) @ up.weight.T + up.bias
    expected = x2 + block.mlp(block.post_attention_layernorm(x2))

    model = llama()
    torch.manual_seed(0)
    insert_adapters(model, AdapterConfig(init="torch"))
    other = decoder_blocks(model)[1]
    other.serial_adapter.load_state_dict(block.serial_adapter.state_dict())
    found = other(x, position_embeddings=positions)
    torch.testing.assert_close(found[0] if isinstance(found, tuple) else found, expected)


@pytest.mark.parametrize(
    ("width", "blocks", "adapters", "norms", "projector", "total"),
    [
        (5120, 40, 524_544_000, 307_200, 3_937_280, 528_788_480),
        (4096, 32, 268_599_296, 196_608, 3_149_824, 271_945_728),
    ],
)
def test_counts_of_the_published_sizes(
    width: int, blocks: int, adapters: int, norms: int, projector: int, total: int
) -> None:
    found = parameter_counts(width, blocks, 768)
    assert found == {"adapters": adapters, "norms": norms, "projector": projector, "total": total}


def test_counts_are_those_of_a_real_model() -> None:
    model = llama(blocks=5)
    insert_adapters(model, AdapterConfig())
    counts = parameter_counts(32, 5, 0)
    assert sum(one.numel() for _, one in trained_parameters(model)) == counts["adapters"] + counts["norms"]


@pytest.mark.parametrize("make", [llava, smolvlm, qwen])
def test_what_is_trained_of_a_model_that_sees(make) -> None:  # type: ignore[no-untyped-def]
    model = make()
    insert_adapters(model, AdapterConfig())
    names = {name for name, one in model.named_parameters() if one.requires_grad}
    assert any("serial_adapter" in name for name in names)
    assert any("projector" in name or "connector" in name or "merger" in name for name in names)
    for name in names:
        assert any(
            part in name
            for part in (
                "serial_adapter",
                "post_attention_layernorm",
                "input_layernorm",
                "projector",
                "connector",
                "merger",
            )
        )
    assert any("layers.0.input_layernorm" in name for name in names)
    assert not any("layers.1.input_layernorm" in name for name in names)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_every_adapter_and_nothing_frozen(checkpointing: bool) -> None:
    model = llama().train()
    insert_adapters(model, AdapterConfig(init="torch"))
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    model(TOKENS, labels=TOKENS).loss.backward()
    for name, parameter in model.named_parameters():
        if "serial_adapter" in name:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
        elif "proj" in name:
            assert parameter.grad is None, name


def test_checkpointing_gives_the_same_gradients() -> None:
    found = []
    for checkpointing in (False, True):
        model = llama().train()
        torch.manual_seed(5)
        insert_adapters(model, AdapterConfig(init="torch"))
        if checkpointing:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        model(TOKENS, labels=TOKENS).loss.backward()
        found.append([one.grad for _, one in trained_parameters(model)])
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(plain, again)


def test_saved_alone_and_put_into_the_base_again(tmp_path: Path) -> None:
    model = llama()
    insert_adapters(model, AdapterConfig(ratio=2, init="torch"))
    with torch.no_grad():
        decoder_blocks(model)[0].post_attention_layernorm.weight += 0.1
    save_adapter(model, tmp_path / "a", AdapterConfig(2, "torch"), "a-llama", {"name": "artgpt4"})
    again = llama()
    load_adapter(again, tmp_path / "a")
    assert torch.equal(again(TOKENS).logits, model(TOKENS).logits)
    trained = sum(one.numel() * 4 for _, one in trained_parameters(model))
    assert (tmp_path / "a" / "adapter.safetensors").stat().st_size < trained + 5000


def test_mistakes_get_one_line(tmp_path: Path) -> None:
    model = llama()
    insert_adapters(model, AdapterConfig())
    save_adapter(model, tmp_path / "a", AdapterConfig(), "a-llama", {})
    with pytest.raises(BeholderError, match="adapters already"):
        insert_adapters(model, AdapterConfig())
    with pytest.raises(BeholderError, match="no block with self_attn"):
        insert_adapters(nn.Linear(2, 2), AdapterConfig())
    for other in (llama(width=16), llama(blocks=2)):
        with pytest.raises(FormatError, match="its base, a-llama"):
            load_adapter(other, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    content = json.loads((tmp_path / "b" / "manifest.json").read_bytes())
    (tmp_path / "b" / "manifest.json").write_text(json.dumps({**content, "format": 9}))
    with pytest.raises(FormatError, match="9"):
        load_adapter(llama(), tmp_path / "b")
    weights = tmp_path / "a" / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(FormatError):
        load_adapter(llama(), tmp_path / "a")
    with pytest.raises(BeholderError, match="ratio 0"):
        AdapterConfig(ratio=0)
