"""What a measured training step keeps and holds, and whether it moves what it should."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from .kept_memory import Saved, nbytes

# pattern -> why its gradient is zero (mathematically; rounding may leave a trace)
ZERO_GRADIENTS = {
    r'prompter\..*\.k_proj\.bias$': 'a key bias adds one number to all keys: softmax ignores it',
    r'mask_decoder\..*\.k_proj\.bias$': 'a key bias adds one number to all keys',
    r'prompter\.dense\.conv\.0\.bias$': 'BatchNorm subtracts what the bias before it adds',
}
ZERO_AT_STEP_1 = {r'lora_A': 'LoRA A while B is 0'}
MOVING_BUFFERS = re.compile(r'\.(running_mean|running_var|num_batches_tracked)$')


class StepWatch:
    """Counts memory in the first of several steps; with `check` looks at every step's gradients,
    and at the frozen weights before and after all.

    Attributes:
        kept: bytes from the forward to the backward pass, without weights.
        states: bytes of gradients and optimizer.
        faults: trained parameters without a gradient, with one that is not finite, or zero without
            a reason (`ZERO_GRADIENTS`); frozen tensors that changed.
    """

    def __init__(self, model: nn.Module, *, check: bool = False) -> None:
        self.kept = self.states = 0
        self.faults: list[str] = []
        self._model, self._check, self._steps = model, check, 0
        self._frozen = checksums(model) if check else {}

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Around a step's forward pass and losses."""
        if self._steps:
            yield
            return
        saved = Saved(self._model)
        with saved.count():
            yield
        self.kept = saved.nbytes

    def after_backward(self) -> None:
        """Behind a step's backward pass, while the gradients are there."""
        self._steps += 1
        gradients = [p.grad for p in self._model.parameters() if p.grad is not None]
        self.states = nbytes(gradients)
        if self._check:
            may_be_zero = ZERO_GRADIENTS | (ZERO_AT_STEP_1 if self._steps == 1 else {})
            self.faults += [
                f'step {self._steps}: {fault}'
                for fault in gradient_faults(self._model, may_be_zero)
            ]

    def finish(self, optimizer: torch.optim.Optimizer) -> None:
        """Behind the last step."""
        self.states += nbytes(x for state in optimizer.state.values() for x in state.values())
        if self._check:
            after = checksums(self._model)
            self.faults += [
                f'frozen {name}: changed'
                for name, value in self._frozen.items()
                if after[name] != value
            ]


def checksums(model: nn.Module) -> dict[str, int]:
    """A checksum of the bytes of every frozen parameter, and of every buffer but BatchNorm's
    running statistics, which training moves."""
    frozen = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    frozen |= {name: b for name, b in model.named_buffers() if not MOVING_BUFFERS.search(name)}
    return {
        name: zlib.crc32(x.cpu().contiguous().flatten().view(torch.uint8).numpy())
        for name, x in frozen.items()
    }


def gradient_faults(model: nn.Module, may_be_zero: dict[str, str]) -> list[str]:
    """Trained parameters without a gradient, with a non-finite one, or an unexpected zero."""
    faults = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        gradient = parameter.grad
        if gradient is None:
            faults.append(f'gradient of {name}: none')
        elif not bool(gradient.isfinite().all()):
            faults.append(f'gradient of {name}: not finite')
        elif not bool(gradient.any()) and not any(re.search(p, name) for p in may_be_zero):
            faults.append(f'gradient of {name}: zero')
    return faults
