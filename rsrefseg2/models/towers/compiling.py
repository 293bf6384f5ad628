"""Less time: the towers' blocks compiled, region by region."""

from __future__ import annotations

import torch
from torch import nn
from torch._dynamo import config as dynamo
from transformers.modeling_layers import GradientCheckpointingLayer

from ...errors import UserError

# Forms of a block that torch compiles before it runs all further ones uncompiled; its own 8 are too
# few: SAM2.1-large's blocks alone have 8, and training and validation each have their own.
MOST_FORMS = 128


def compile_towers(model: nn.Module, backend: str) -> None:
    """torch.compile for each block of SigLIP's two towers and of SAM's image encoder, in place.

    Blocks of one kind share what is compiled. Names, parameters and checkpoints stay as they are.
    Every form of a block is compiled, which takes minutes, once (`MOST_FORMS`).
    Sizes are static (`dynamic=False`): with dynamic ones torch has given wrong features of SAM 2
    (pytorch#153366), and a view's size never changes.

    Args:
        model: an `RSRefSeg2`.
    Raises:
        UserError: torch has no such backend.
    """
    known = torch.compiler.list_backends(exclude_tags=())
    if backend not in known:
        raise UserError(f'compile_blocks is one of {", ".join(sorted(known))}, not {backend!r}')
    dynamo.recompile_limit = max(dynamo.recompile_limit, MOST_FORMS)
    dynamo.accumulated_recompile_limit = max(dynamo.accumulated_recompile_limit, 4 * MOST_FORMS)
    for tower in (
        model.encoder.vision_model,
        model.encoder.text_model,
        model.mask_generator.sam.vision_encoder,
    ):
        for block in tower.modules():
            if isinstance(block, GradientCheckpointingLayer):
                block.compile(backend=backend, dynamic=False)
