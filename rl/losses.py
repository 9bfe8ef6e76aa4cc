"""Losses of alignment: preferences between the pictures of a query, and the contrastive term that holds the rest.

Pure: tensors in, tensors out; float32 or better, whatever the towers ran in. B queries, L pictures each, logits =
cosine / temperature, the temperature frozen (lowering it would widen margins with no change of a ranking).
`prefer` bool (B, L, L) says that picture i is preferred to picture j: chains, grids, ties and padding all become it
(preferences.py). A loss of preferences is one number per query, the mean over the query's pairs (or chains), so that
the size of a list does not weigh; `mean_over_queries` takes their mean over the queries that have pairs.

Wen et al. 2024 (2406.09397): ranked DPO and the pre-training loss. Their constants are not public in readable form:
every one is an argument. Deliberate differences: pairs are averaged within a query first; the two directions of the
contrastive term are averaged, not summed, and the smoothed mass of a row is spread evenly over its true partners.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def margins(policy: Tensor, reference: Tensor) -> Tensor:
    """h (B, L, L): h_ij = (z_i - z_j) of the policy less that of the reference, of logits z (B, L).

    The partition functions of both cancel (method of Rafailov et al. 2023, 2305.18290, eq. 6 and 7), so the other
    pictures of the corpus do not enter, and a shift of all a query's logits changes nothing.
    """
    moved = policy.float() - reference.float()
    return moved[:, :, None] - moved[:, None, :]


def ranked_dpo(
    policy: Tensor, reference: Tensor, prefer: Tensor, *, beta: float, smoothing: float = 0.0, hinge: bool = False
) -> Tensor:
    """(B,): -(1 - smoothing) log sigmoid(beta h) - smoothing log sigmoid(-beta h), the mean over the pairs of a query.

    Ranked DPO (2406.09397), with the label smoothing of conservative DPO. `policy`, `reference` (B, L) logits;
    0 <= smoothing < 1/2. hinge: max(0, 1 - beta h) instead (SLiC's form, Zhao et al. 2023, 2305.10425), unsmoothed.
    """
    from torch.nn.functional import logsigmoid, relu

    scaled = beta * margins(policy, reference)
    if hinge:
        return over_pairs(relu(1 - scaled), prefer)
    return over_pairs(-(1 - smoothing) * logsigmoid(scaled) - smoothing * logsigmoid(-scaled), prefer)


def ipo(policy: Tensor, reference: Tensor, prefer: Tensor, *, beta: float) -> Tensor:
    """(B,): (h - 1 / (2 beta))^2, the mean over the pairs of a query. Azar et al. 2023 (2310.12036), eq. 17; h is not
    multiplied by beta."""
    return over_pairs((margins(policy, reference) - 1 / (2 * beta)) ** 2, prefer)


def plackett_luce(values: Tensor, chains: Tensor) -> Tensor:
    """(B,): the negative log-likelihood of orders, best first, the mean over the chains of a query.

    `values` (B, L): beta (z_policy - z_reference) for Plackett-Luce DPO (2305.18290, appendix A.3), or the logits
    alone for ListMLE (Xia et al. 2008, eq. 7). `chains` int64 (B, C, n): places in the list, best first, -1 after the
    end; each row and column of a grid is one. A chain of two is one pair of DPO.
    """
    import torch

    batch, count, length = chains.shape
    known = chains >= 0
    picked = values.float().gather(1, chains.clamp_min(0).reshape(batch, -1)).reshape(batch, count, length)
    hidden = picked.masked_fill(~known, -torch.inf)
    # log of the sum over a place and all after it; what is hidden adds nothing
    after = hidden.flip(-1).logcumsumexp(-1).flip(-1)
    terms = torch.where(known, after - picked, torch.zeros_like(picked))  # the last of a chain gives 0 by itself
    real = known.sum(-1) >= 2
    return (terms.sum(-1) * real).sum(-1) / real.sum(-1).clamp_min(1)


def lipo_lambda(values: Tensor, levels: Tensor, prefer: Tensor) -> Tensor:
    """(B,): sum over the preferred pairs of w_ij * -log sigmoid(u_i - u_j), of u = `values` (B, L).

    w_ij = |G_i - G_j| |1 / D(r_i) - 1 / D(r_j)|, G = 2^level - 1, D(r) = log2(1 + r), r the present rank by u: the
    change of DCG if both changed places; no gradient goes through it. Liu et al. 2024 (2402.01878), LiPO-lambda. Equal
    values take ranks by place. `levels` float (B, L), higher is better; pictures outside every pair take no rank.
    """
    from torch.nn.functional import logsigmoid

    u = values.float()
    used = (prefer.any(1) | prefer.any(2)).detach()
    placed = u.detach().masked_fill(~used, -float("inf"))
    ranks = placed.argsort(dim=1, descending=True, stable=True).argsort(dim=1).float() + 1
    gains, discounts = 2 ** levels.float() - 1, 1 / (1 + ranks).log2()
    weights = (gains[:, :, None] - gains[:, None, :]).abs() * (discounts[:, :, None] - discounts[:, None, :]).abs()
    terms = -weights * logsigmoid(u[:, :, None] - u[:, None, :])
    return terms.masked_fill(~prefer, 0).sum((1, 2))


def over_pairs(terms: Tensor, prefer: Tensor) -> Tensor:
    """(B,): the mean of terms (B, L, L) over a query's pairs, 0 where it has none."""
    return terms.masked_fill(~prefer, 0).sum((1, 2)) / prefer.sum((1, 2)).clamp_min(1)


def mean_over_queries(per_query: Tensor, prefer: Tensor, queries: Tensor | float | None = None) -> Tensor:
    """A scalar: the sum of per_query (B,) over queries that have pairs, divided by their number.

    queries: that number over all micro-batches and processes of a step, where there are several; their losses then
    add up to the loss of one large batch.
    """
    having = prefer.flatten(1).any(1)
    total = (per_query * having).sum()
    return total / (having.sum().clamp_min(1) if queries is None else queries)


def anchor_loss(vectors: Tensor, base: Tensor) -> Tensor:
    """A scalar: the mean over rows of |v - v_base|^2, of unit rows (n, D): 2 - 2 cosine.

    It holds what an encoder says of captions without a batch of others to tell them from. Ours, not the paper's: see
    docs/decisions/0023.
    """
    return (vectors.float() - base.float()).square().sum(1).mean()


def logit_anchor_loss(policy: Tensor, reference: Tensor) -> Tensor:
    """A scalar: the mean over queries (B) of the variance over pictures (C) of policy - reference logits, both (B, C).

    It holds a query's order of a whole gallery where the reference has it; what is the same for all pictures is free.
    A direction in which pictures differ little (their look) costs little, one in which they differ much (their
    subject) much: for a linear gain m the best change is C^-1 m, as in Fisher's discriminant, not m. The variance is
    unbiased, so that its mean does not depend on C; one picture has none (nan). Ours, not the paper's: see
    docs/decisions/0023.
    """
    return (policy.float() - reference.float()).var(dim=1).mean()


def smoothed_targets(keys: Tensor, smoothing: float) -> Tensor:
    """float32 (B, B), rows sum to 1: (1 - smoothing) shared by the columns with the row's key, smoothing by
    all B.

    `keys` is int64 (B,): rows with equal keys (two pictures of the same style) are true partners of each
    other.
    """
    same = (keys[:, None] == keys[None, :]).float()
    return (1 - smoothing) * same / same.sum(1, keepdim=True) + smoothing / len(keys)


def contrastive_loss(
    images: Tensor, texts: Tensor, scale: Tensor | float, keys: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """A scalar: mean cross-entropy of picture -> text and text -> picture, averaged.

    `images` and `texts` are float (B, D), unit rows, row i a pair; `scale` (1 / temperature) multiplies the
    cosines; `keys` int64 (B,) says which rows share a label (default: none do); 0 <= smoothing < 1.
    """
    import torch

    logits = scale * images @ texts.T
    if keys is None:
        keys = torch.arange(len(images), device=images.device)
    targets = smoothed_targets(keys, smoothing)
    by_image = -(targets * logits.log_softmax(1)).sum(1).mean()
    by_text = -(targets * logits.T.log_softmax(1)).sum(1).mean()
    return (by_image + by_text) / 2
