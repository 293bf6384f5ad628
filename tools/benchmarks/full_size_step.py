"""Two optimisation steps at full size with random weights, on a CPU, in BF16.

    python tools/benchmarks/full_size_step.py configs/rrsisd_siglip2_sam21l.py

Prints seconds by part and the peak memory, and checks after each step that every trainable gradient
is finite, after step 2 that every one is nonzero but for those that must be zero (each with its
reason), and that every frozen tensor, buffers included, is bit-identical. Exit code 1 if a check
fails.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import resource
import sys
import time
import zlib

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from rsrefseg2.datasets import unique_images_collate
from rsrefseg2.engine import load_config
from rsrefseg2.errors import report_user_errors
from rsrefseg2.options import add_shared
from rsrefseg2.registry import MODELS
from rsrefseg2.structures import RefSegDataSample

# pattern -> why its gradient is zero (mathematically; rounding may leave a trace)
ZERO_GRADIENTS = {
    r'prompter\..*\.k_proj\.bias$': 'a key bias adds one number to all keys: softmax ignores it',
    r'mask_decoder\..*\.k_proj\.bias$': 'a key bias adds one number to all keys',
    r'prompter\.dense\.conv\.0\.bias$': 'BatchNorm subtracts what the bias before it adds',
}
ZERO_AT_STEP_1 = {r'lora_A': 'LoRA A while B is 0'}
MOVING_BUFFERS = re.compile(r'\.(running_mean|running_var|num_batches_tracked)$')


class Float32Products(TorchFunctionMode):
    """Matrix products and convolutions of BF16 tensors computed in float32, rounded to BF16.

    For processors without BF16 instructions, where torch's own are tens of times slower. What is
    kept for backward stays in BF16: the operands came from there, so nothing is lost.
    """

    PRODUCTS = {
        F.linear,
        F.conv2d,
        F.conv_transpose2d,
        torch.matmul,
        torch.Tensor.matmul,
        torch.Tensor.__matmul__,
    }

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        attention = func is F.scaled_dot_product_attention
        if not (attention or func in self.PRODUCTS) or args[0].dtype != torch.bfloat16:
            return func(*args, **kwargs)
        args, kwargs = tree_map(self._up, (args, kwargs))
        # attention also keeps its log-sum-exp (B, heads, L), which needs float32 in backward
        down = self._down_tokens if attention else self._down
        with torch.autograd.graph.saved_tensors_hooks(down, self._up):
            return func(*args, **kwargs).bfloat16()

    @staticmethod
    def _up(x):
        return x.float() if isinstance(x, torch.Tensor) and x.dtype == torch.bfloat16 else x

    @staticmethod
    def _down(x):
        return x.bfloat16() if x.dtype == torch.float32 else x

    @classmethod
    def _down_tokens(cls, x):
        return cls._down(x) if x.dim() == 4 else x


def batch(images: int, size: int = 800) -> dict:
    """Textured squares and two sentences of different length; another mask for each."""
    items = []
    for i in range(images):
        sample = RefSegDataSample(
            metainfo=dict(
                sample_id=str(i),
                img_path=f'{i}.jpg',
                category=None,
                ori_shape=(size, size),
                text=('A ship on the upper right', 'the vehicle on the right of the airplane')[
                    i % 2
                ],
            )
        )
        sample.gt_mask = torch.zeros(size, size, dtype=torch.bool)
        sample.gt_mask[100 + 50 * i : 300 + 50 * i, 150 : 400 - 40 * i] = True
        items.append(
            dict(
                inputs=torch.randint(0, 256, (3, size, size), dtype=torch.uint8),
                data_samples=sample,
            )
        )
    return unique_images_collate(items)


def checksums(model: torch.nn.Module) -> dict[str, int]:
    """A checksum of the bytes of every frozen parameter, and of every buffer but BatchNorm's
    running statistics, which training moves."""
    frozen = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    frozen |= {name: b for name, b in model.named_buffers() if not MOVING_BUFFERS.search(name)}
    return {
        name: zlib.crc32(x.contiguous().flatten().view(torch.uint8).numpy())
        for name, x in frozen.items()
    }


def gradient_faults(model: torch.nn.Module, expected_zero: dict[str, str]) -> list[str]:
    """Trainable parameters without a gradient, with a non-finite one, or an unexpected zero."""
    faults = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        gradient = parameter.grad
        if gradient is None:
            faults.append(f'{name}: none')
        elif not bool(gradient.isfinite().all()):
            faults.append(f'{name}: not finite')
        elif not bool(gradient.any()) and not any(re.search(p, name) for p in expected_zero):
            faults.append(f'{name}: zero')
    return faults


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@report_user_errors()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('--images', type=int, default=2, help='the sample contrast needs 2')
    parser.add_argument('--steps', type=int, default=2)
    parser.add_argument(
        '--float32-products', action='store_true', help='for a processor without BF16 instructions'
    )
    add_shared(parser, 'cfg-options')
    args = parser.parse_args()
    cfg = load_config(args.config, options={'model.init': 'random', **(args.cfg_options or {})})
    torch.manual_seed(0)
    start = time.perf_counter()
    model = MODELS.build(cfg.model).bfloat16().train()
    trainable = [p for p in model.parameters() if p.requires_grad]
    print(
        f'built in {time.perf_counter() - start:.0f} s: '
        f'{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters, '
        f'{sum(p.numel() for p in trainable) / 1e6:.1f} M trainable, '
        f'peak {peak_gib():.1f} GiB, {torch.get_num_threads()} threads',
        flush=True,
    )
    frozen = checksums(model)
    optimizer = torch.optim.AdamW(trainable, lr=cfg.optim_wrapper.optimizer.lr)
    data, failed = batch(args.images), False
    for step in range(1, args.steps + 1):
        times = [time.perf_counter()]
        with Float32Products() if args.float32_products else contextlib.nullcontext():
            losses = model(**model.data_preprocessor(data, True), mode='loss')
        times.append(time.perf_counter())
        sum(losses.values()).backward()
        times.append(time.perf_counter())
        expected = ZERO_GRADIENTS | (ZERO_AT_STEP_1 if step == 1 else {})
        faults = gradient_faults(model, expected)
        torch.nn.utils.clip_grad_norm_(trainable, cfg.optim_wrapper.clip_grad.max_norm)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter())
        seconds = [b - a for a, b in zip(times, times[1:])]
        print(
            f'step {step}: forward {seconds[0]:.1f} s, backward {seconds[1]:.1f} s, '
            f'optimizer {seconds[2]:.1f} s, peak {peak_gib():.1f} GiB; '
            + ', '.join(f'{k} {float(v.detach()):.4f}' for k, v in losses.items()),
            flush=True,
        )
        for fault in faults:
            print(f'  gradient of {fault}')
        failed |= bool(faults)
    changed = [name for name, value in checksums(model).items() if frozen[name] != value]
    print(f'frozen tensors: {len(frozen)}, changed: {len(changed)} {changed[:3]}')
    print('gradients that must be zero:')
    for pattern, reason in {**ZERO_GRADIENTS, **ZERO_AT_STEP_1}.items():
        print(f'  {pattern}: {reason}')
    sys.exit(1 if failed or changed else 0)


if __name__ == '__main__':
    main()
