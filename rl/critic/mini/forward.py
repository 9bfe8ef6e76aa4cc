"""One pass of the critic over packed groups: the loss of a step, and how likely each answer is."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from .pack import NOTHING, Packed


class Reader(nn.Module):
    """Reads numbers off the middle of the model: attributes at the token behind each picture; one layer later, behind
    the second of two, by how much it has more of each; another layer later, at the token that an answer is said behind,
    the one number that it follows from. No part of the critic. What it asks for must be there before a word is said:
    magnitudes are learnt as numbers. From words alone, comparing was not learnt in 600 steps."""

    def __init__(self, width: int, attributes: int, depth: int) -> None:
        super().__init__()
        self.place = depth // 2  # of the hidden states: behind so many layers
        self.linear = nn.Linear(width, attributes)
        self.difference = nn.Linear(width, attributes)
        self.answer = nn.Linear(width, 1)

    def errors(self, states: tuple[torch.Tensor, ...], packed: Packed, values: torch.Tensor) -> torch.Tensor:
        """Squared errors (N,) of all that is known; `values` (pictures, attributes), NaN where unknown."""
        row, place = packed.seen.unbind(dim=1)
        second = packed.seen[packed.pairs[:, 1]]
        gaps = values[packed.pairs[:, 1]] - values[packed.pairs[:, 0]]
        found = self.linear(states[self.place][row, place].float())
        apart = self.difference(states[self.place + 1][second[:, 0], second[:, 1]].float())
        states_said = states[min(self.place + 2, len(states) - 1)][packed.asked[:, 0], packed.asked[:, 1]]
        said = self.answer(states_said.float())
        found = torch.cat([one.flatten() for one in (found, apart, said)])
        wanted = torch.cat([one.flatten() for one in (values, gaps, packed.aims)])
        known = ~wanted.isnan()
        return (found[known] - wanted[known]).square()


def hidden_states(model: Any, packed: Packed, features: torch.Tensor) -> Any:
    """What the language model makes of packed groups: `last_hidden_state` (B, L, D), and states behind each layer."""
    words = model.get_input_embeddings()(packed.ids)
    shown = model.model.multi_modal_projector(features).flatten(0, 1).to(words.dtype)
    places = (packed.ids == model.config.image_token_id).unsqueeze(-1)
    return model.model.language_model(
        inputs_embeds=words.masked_scatter(places, shown),
        attention_mask=packed.mask,
        position_ids=packed.positions,
        use_cache=False,
        output_hidden_states=True,
    )


def token_losses(model: Any, packed: Packed, states: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """(loss in nats, number of its text) of each token of an answer, (N,) each, in the order of the batch."""
    rows, places = torch.nonzero(packed.targets != NOTHING, as_tuple=True)
    logits = model.lm_head(states.last_hidden_state[rows, places - 1]).float()
    losses = torch.nn.functional.cross_entropy(logits, packed.targets[rows, places], reduction="none")
    return losses, packed.text[rows, places]


def step_loss(
    model: Any, reader: Reader, packed: Packed, features: torch.Tensor, values: torch.Tensor, auxiliary: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(what is minimised, loss of an answer's token, squared error of the reader). `values` (pictures, attributes), NaN
    where unknown. A token of a text of n counts 1 / sqrt(n), times the text's weight: a caption is not worth thirty
    choices, nor one."""
    states = hidden_states(model, packed, features)
    losses, text = token_losses(model, packed, states)
    weights = packed.weights[text] * torch.bincount(text).float().rsqrt()[text]
    words = (losses * weights).sum() / weights.sum()
    errors = reader.errors(states.hidden_states, packed, values)
    error = errors.mean() if len(errors) else torch.zeros_like(words)
    return words + auxiliary * error, losses.mean(), error


@torch.no_grad()
def answer_losses(model: Any, packed: Packed, features: torch.Tensor) -> torch.Tensor:
    """(texts,) float64: how unlikely each answer is, in nats."""
    losses, text = token_losses(model, packed, hidden_states(model, packed, features))
    found = torch.zeros(int(text.max()) + 1, dtype=torch.float64, device=losses.device)
    return found.index_add(0, text, losses.double())


def precision_of(precision: str, device: str) -> AbstractContextManager[Any]:
    """Autocast to bf16, or nothing."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.partition(":")[0], torch.bfloat16)
