"""Model FLOPs utilisation: what share of a GPU's arithmetic a training run uses."""

from __future__ import annotations

import re

import torch
from mmengine.logging import print_log
from torch import nn

from ..models import RSRefSeg2
from .complexity import build_on_meta
from .training_flops import TrainingFlops, count_training_flops

# TFLOP/s of dense matrix products in BF16 (V100, T4: FP16), from the makers' data sheets, as words
# of the name that torch gives. Of several that fit, the longest counts.
PEAKS = {
    'V100': 125,
    'T4': 65,
    'A30': 165,
    'A40': 149.7,
    'A100': 312,
    'A800': 312,
    'RTX A6000': 154.8,
    'L4': 121,
    'L40': 181,
    'L40S': 362,
    'RTX 6000 Ada': 364.2,
    'RTX 3090': 71,
    'RTX 4090': 165.2,
    'H20': 148,
    'H100': 989.4,
    'H100 PCIe': 756,
    'H100 NVL': 835,
    'H800': 989.4,
    'H200': 989.4,
    'B200': 2250,
    'MI300X': 1307.4,
}
# A part of a GPU, or one of another clock, has another peak.
OTHERS = re.compile(r'\b(MIG|Laptop|Max-Q|Mobile|D|H800 PCIe|H200 NVL)\b')


def peak_tflops(name: str) -> float | None:
    """Of a GPU by its name, such as 'NVIDIA A100-SXM4-80GB'; None: not known."""
    known = [key for key in PEAKS if re.search(rf'\b{re.escape(key)}\b', name)]
    return None if not known or OTHERS.search(name) else PEAKS[max(known, key=len)]


class Mfu:
    """The share of the peak that the model's own arithmetic takes.

    MFU = (U * FLOP of an image + B * FLOP of a sentence) / (seconds * ranks * peak), U and B over
    all ranks. FLOP are those of the forward pass and of the backward pass as autograd runs it, so
    frozen weights count less (`count_training_flops`); what is computed twice to save memory counts
    once. The peak is the GPU's dense BF16 one, whatever precision the run uses: in float32 the MFU
    is low because the run leaves the fast units idle.
    """

    def __init__(self, flops: TrainingFlops, peak: float) -> None:
        """`peak` in TFLOP/s of one GPU."""
        self.flops, self.peak = flops, peak

    def __call__(self, images: int, sentences: int, seconds: float, ranks: int) -> float:
        """0 to 1."""
        done = images * self.flops.image + sentences * self.flops.sentence
        return done / (seconds * ranks * self.peak * 1e12)


def find_mfu(model: nn.Module, config: dict, peak: float | None) -> Mfu | None:
    """For a run of `model`, built from `config`; where there is none, the log says why.

    Args:
        peak: TFLOP/s, where the user gives it; None: by the name of the GPU.
    """
    if peak is None:
        if not torch.cuda.is_available():
            return None
        name = torch.cuda.get_device_name()
        peak = peak_tflops(name)
        if peak is None:
            print_log(
                f'no MFU: the peak of {name!r} is not known; set '
                'default_hooks.timer.peak_tflops to its dense BF16 TFLOP/s',
                'current',
            )
            return None
    if not isinstance(model, RSRefSeg2):
        print_log(
            f'no MFU: FLOP are counted for RSRefSeg2, not for {type(model).__name__}', 'current'
        )
        return None
    return Mfu(count_training_flops(build_on_meta(config)), peak)
