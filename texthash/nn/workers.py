"""Group of training processes: gathering codes, averaging gradients, broadcasting results of one of them.

A plain process is a group of one. With :mod:`torch.distributed` initialised (as by Ray Train) the same calls act on all
workers, so methods need no code of their own for distributed training.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Gather(torch.autograd.Function):
    """All-gather along the first dimension; the backward pass sums the gradients of all workers for the local rows."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, local: Tensor) -> Tensor:
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


class Workers:
    """Group of training processes: a group of one, unless :mod:`torch.distributed` is initialised."""

    def __init__(self) -> None:
        distributed = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if distributed else 0
        self.size = dist.get_world_size() if distributed else 1

    def gather(self, local: Tensor) -> Tensor:
        """Concatenate ``local`` [b, ...] of all workers, in worker order, into [b * size, ...], with gradients.

        Together with the averaging of :meth:`optimizer_step`, a loss over gathered codes has the gradient that a single
        process would compute on the whole batch.
        """
        return _Gather.apply(local) if self.size > 1 else local

    def optimizer_step(self, loss: Tensor, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        """Update by the gradients of ``loss``, averaged over the workers and clipped to norm ``clip``."""
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(loss.device.type, enabled=False):  # backward uses the precision of forward
            loss.backward()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.average_gradients(parameters)
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its mean over the workers; a parameter without one counts as zero."""
        if self.size == 1:
            return
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        pending = [dist.all_reduce(gradient, async_op=True) for gradient in gradients]
        for work, gradient in zip(pending, gradients, strict=True):
            work.wait()
            gradient.div_(self.size)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over the workers, without gradients."""
        if self.size == 1:
            return value.detach()
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def broadcast(self, module: nn.Module) -> None:
        """Send the parameters and buffers of the first worker to all others."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)

    def share_number(self, value: float | None) -> float | None:
        """Return the first worker's value, in every worker."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]
