"""Outputs of the model that hold only what the sample contrast reads."""

from torch import Tensor, arange

from rsrefseg2.models.symbols import EncodedImages, Prompts, RefSegOutputs


def outputs_of(v: Tensor, t2: Tensor, grid_size: tuple[int, int]) -> RefSegOutputs:
    """v (B, N, d1), one image per sentence; t2 (B, n_t, d1)."""
    return RefSegOutputs(
        images=EncodedImages(v, None, []),
        image_index=arange(len(v)),
        text=None,
        prompts=Prompts(
            t1=None,
            t2=t2,
            t1_act=None,
            v1_act=None,
            t2_act=None,
            v2_act=None,
            p_sparse=None,
            p_dense=None,
        ),
        mask_logits=None,
        input_size=None,
        grid_size=grid_size,
    )
