"""The gradient of a contrastive batch that is too large for one forward or lies on several processes.

Vectors are computed in chunks, gathered over processes, and the loss is taken over all of them at once; its
gradient by the vectors then flows back through each chunk, which is computed again where there is more than
one (Gao et al. 2021, 2101.06983). So chunking and processes change memory and time, not the gradient, up to
rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

Encode = Callable[[int], "tuple[Tensor, Tensor]"]  # number of a chunk -> picture and text vectors, float (b, D)


def gather(vectors: Tensor) -> Tensor:
    """float (processes * b, D): the rows of every process in rank order; without processes, the rows
    themselves.
    """
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        return vectors
    parts = [torch.empty_like(vectors) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, vectors.contiguous())
    return torch.cat(parts)


def backward(
    encode: Encode,
    chunks: Sequence[int],
    loss: Callable[[Tensor, Tensor], Tensor],
    shared: Sequence[nn.Parameter],
    parameters: Sequence[nn.Parameter],
) -> float:
    """The loss over all chunks of all processes, its gradient added to `parameters` alike on every process.

    `encode` must give the same vectors when called again for a chunk (seed its dropout). `shared` are
    parameters of the loss itself (the logit scale): each process has their whole gradient already, so that it
    is not summed.
    """
    import torch
    from torch import distributed

    once = len(chunks) == 1
    with torch.set_grad_enabled(once):
        outputs = [encode(chunk) for chunk in chunks]
    images = torch.cat([image for image, _ in outputs])
    texts = torch.cat([text for _, text in outputs])
    all_images = gather(images.detach()).requires_grad_()
    all_texts = gather(texts.detach()).requires_grad_()
    value = loss(all_images, all_texts)
    value.backward()  # type: ignore[no-untyped-call]
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    mine = slice(rank * len(images), (rank + 1) * len(images))
    image_gradient, text_gradient = all_images.grad, all_texts.grad
    if image_gradient is None or text_gradient is None:
        raise RuntimeError("the loss does not depend on the vectors")
    image_gradient, text_gradient = image_gradient[mine], text_gradient[mine]
    at = 0
    for number, chunk in enumerate(chunks):
        image, text = outputs[number] if once else encode(chunk)
        rows = slice(at, at + len(image))
        torch.autograd.backward([image, text], [image_gradient[rows], text_gradient[rows]])
        at += len(image)
    if distributed.is_initialized():
        own = {id(parameter) for parameter in shared}
        for parameter in parameters:
            if id(parameter) in own:
                continue
            if parameter.grad is None:  # every process must join each sum, whatever its chunk touched
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
    return float(value.detach())
