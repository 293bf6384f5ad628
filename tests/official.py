"""A checkpoint of the method's public release, made from random weights at small width.

Names and shapes are written down here from its description, or come from transformers and PEFT
themselves; nothing of the package is used. Sizes as in tests/tiny_towers.py.
"""

from __future__ import annotations

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import SiglipConfig, SiglipModel

from tests import tiny_towers

R, D1, D2, N_T, N_P, INNER, HIDDEN, GRID = 2, 32, 32, 3, 9, 16, 16, 4
SIZES = dict(
    siglip_heads=2,
    prompter_heads=2,
    decoder_heads=2,
    trunk=dict(stages=(1, 1, 2, 1), heads=1, windows=(4, 2, 2, 2), global_blocks=(3,)),
)
# What PEFT was told to adapt.
ADAPTED = {
    'vision': r'model\.head\.(attention\.out_proj|mlp\.fc[12])'
    r'|model\.encoder\.layers\.\d+\.self_attn\.[kvq]_proj'
    r'|model\.encoder\.layers\.\d+\.self_attn\.out_proj',
    'text': r'model\.head|model\.encoder\.layers\.\d+\.self_attn\.([kvq]|out)_proj',
}
Shapes = dict[str, tuple[int, ...]]


class Wrapper(nn.Module):
    """A tower under `model`, and the text tower's scale and bias beside it."""

    def __init__(self, siglip: SiglipModel, tower: str) -> None:
        super().__init__()
        self.model = getattr(siglip, f'{tower}_model')
        if tower == 'text':
            self.logit_scale, self.logit_bias = siglip.logit_scale, siglip.logit_bias


def siglip_shapes() -> Shapes:
    config = {k: v for k, v in tiny_towers.siglip_config().items() if k != 'model_type'}
    siglip = SiglipModel(SiglipConfig(**config))
    found: Shapes = {}
    for tower, pattern in ADAPTED.items():
        wrapped = get_peft_model(
            Wrapper(siglip, tower), LoraConfig(r=R, lora_alpha=R, target_modules=pattern)
        )
        found |= {
            f'clip_{tower}_encoder.{name}': tuple(value.shape)
            for name, value in wrapped.state_dict().items()
        }
    return found


def layer(name: str, *shape: int, bias: bool = True) -> Shapes:
    return {f'{name}.weight': shape, **({f'{name}.bias': (shape[0],)} if bias else {})}


def mlp(name: str, *widths: int) -> Shapes:
    found: Shapes = {}
    for i, (d_in, d_out) in enumerate(zip(widths, widths[1:])):
        found |= layer(f'{name}.layers.{i}', d_out, d_in)
    return found


def attention(name: str, d: int, inner: int, d_context: int | None = None) -> Shapes:
    return {
        **layer(f'{name}.q_proj', inner, d),
        **layer(f'{name}.k_proj', inner, d_context or d),
        **layer(f'{name}.v_proj', inner, d_context or d),
        **layer(f'{name}.out_proj', d, inner),
    }


def image_encoder_shapes(
    *, width: int = 8, stages=(1, 1, 2, 1), d2: int = D2, window: int = 4
) -> Shapes:
    """SAM 2's image encoder, not adapted."""
    found: Shapes = {
        'trunk.pos_embed': (1, width, 4, 4),
        'trunk.pos_embed_window': (1, width, window, window),
        **layer('trunk.patch_embed.proj', width, 3, 7, 7),
    }
    d, i = width, 0
    for stage, blocks in enumerate(stages):
        for block in range(blocks):
            first, name = stage > 0 and block == 0, f'trunk.blocks.{i}'
            out = 2 * d if first else d
            found |= {
                **layer(f'{name}.norm1', d),
                **layer(f'{name}.attn.qkv', 3 * out, d),
                **layer(f'{name}.attn.proj', out, out),
                **layer(f'{name}.norm2', out),
                **mlp(f'{name}.mlp', out, 4 * out, out),
            }
            if first:
                found |= layer(f'{name}.proj', out, d)
            d, i = out, i + 1
    for k in range(4):
        found |= layer(f'neck.convs.{k}.conv', d2, width * 2 ** (3 - k), 1, 1)
    return found


def adapt(shapes: Shapes) -> Shapes:
    """With PEFT's names where it was told to: attention's qkv and proj, the neck."""
    found: Shapes = {}
    for name, shape in shapes.items():
        module, _, kind = name.rpartition('.')
        if not module.endswith(('.attn.qkv', '.attn.proj', '.conv')):
            found[name] = shape
            continue
        found[f'{module}.base_layer.{kind}'] = shape
        if kind == 'weight':
            found[f'{module}.lora_A.default.weight'] = (R, *shape[1:])
            found[f'{module}.lora_B.default.weight'] = (shape[0], R, *(1 for _ in shape[2:]))
    return found


def prompts_and_decoder_shapes(
    *, d2: int = D2, mask_channels: int = 8, hidden: int = 64, iou_hidden: int = 32
) -> Shapes:
    p, m = 'sam_prompt_encoder', 'sam_mask_decoder'
    found: Shapes = {
        'no_mem_embed': (1, 1, d2),
        f'{p}.pe_layer.positional_encoding_gaussian_matrix': (2, d2 // 2),
    }
    for name in (
        *(f'point_embeddings.{i}' for i in range(4)),
        'not_a_point_embed',
        'no_mask_embed',
    ):
        found |= layer(f'{p}.{name}', 1, d2, bias=False)
    for i, shape in (
        (0, (mask_channels // 4, 1, 2, 2)),
        (1, (mask_channels // 4,)),
        (3, (mask_channels, mask_channels // 4, 2, 2)),
        (4, (mask_channels,)),
        (6, (d2, mask_channels, 1, 1)),
    ):
        found |= layer(f'{p}.mask_downscaling.{i}', *shape)
    for name, count in (('iou_token', 1), ('mask_tokens', 4), ('obj_score_token', 1)):
        found |= layer(f'{m}.{name}', count, d2, bias=False)
    for i in (0, 1):
        t = f'{m}.transformer.layers.{i}'
        found |= {
            **attention(f'{t}.self_attn', d2, d2),
            **attention(f'{t}.cross_attn_token_to_image', d2, d2 // 2),
            **attention(f'{t}.cross_attn_image_to_token', d2, d2 // 2),
            **mlp(f'{t}.mlp', d2, hidden, d2),
        }
        for k in range(1, 5):
            found |= layer(f'{t}.norm{k}', d2)
    found |= {
        **attention(f'{m}.transformer.final_attn_token_to_image', d2, d2 // 2),
        **layer(f'{m}.transformer.norm_final_attn', d2),
    }
    for i, (d_in, d_out) in ((0, (d2, d2 // 4)), (3, (d2 // 4, d2 // 8))):  # transposed
        found |= {
            f'{m}.output_upscaling.{i}.weight': (d_in, d_out, 2, 2),
            f'{m}.output_upscaling.{i}.bias': (d_out,),
        }
    found |= {
        **layer(f'{m}.output_upscaling.1', d2 // 4),
        **layer(f'{m}.conv_s0', d2 // 8, d2, 1, 1),
        **layer(f'{m}.conv_s1', d2 // 4, d2, 1, 1),
        **mlp(f'{m}.iou_prediction_head', d2, iou_hidden, iou_hidden, 4),
        **mlp(f'{m}.pred_obj_score_head', d2, d2, d2, 1),
    }
    for k in range(4):
        found |= mlp(f'{m}.output_hypernetworks_mlps.{k}', d2, d2, d2, d2 // 8)
    return found


def prompter_shapes(
    *, d1: int = D1, d2: int = D2, inner: int = INNER, hidden: int = HIDDEN, grid: int = GRID
) -> Shapes:
    """By the order of computation; an attention or MLP is followed by its norm."""
    found: Shapes = {
        **{f'text_query_pe_embedding{i}': (N_T, d1) for i in (1, 2)},
        'img_pe': (1, d1, grid, grid),
        'prompt_embedding': (N_P, d2),
        'prompt_pe_embedding': (N_P, d2),
    }
    query = [
        step
        for i in (1, 2)
        for step in (
            (f'self_attn_query_query{i}', f'norm_query{i}_1'),
            (f'cross_attn_query_text_query{i}_text', f'norm_query{i}_2'),
            (f'mlp_query{i}_2', f'norm_query{i}_3'),
            (f'cross_attn_query_query_query{i}_query{3 - i}', f'norm_query{i}_4'),
            (f'mlp_query{i}_3', f'norm_query{i}_5'),
        )
    ]
    image = [('cross_attn_img_text_1', 'norm_img_1'), ('mlp_img_1', 'norm_img_2')]
    prompt = [
        ('self_attn_prompt_1', 'norm_prompt_1'),
        ('cross_attn_prompt_text_1', 'norm_prompt_2'),
        ('mlp_prompt_2', 'norm_prompt_3'),
        ('cross_attn_prompt_img_1', 'norm_prompt_4'),
        ('mlp_prompt_3', 'norm_prompt_5'),
    ]
    for stack, steps in (
        ('two_queries_text_attn_layers', query),
        ('queries1_to_img_attn_layers', [('self_attn_text_text_1', 'norm_text_1'), *image]),
        ('prompt_queries2_img_attn_layers', [('self_attn_text_1', 'norm_text_1'), *image, *prompt]),
    ):
        for block in (0, 1):
            for step, norm in steps:
                name, d = f'{stack}.{block}.{step}', d2 if 'prompt' in step else d1
                found |= (
                    mlp(name, d, hidden, d)
                    if step.startswith('mlp')
                    else attention(name, d, inner, d1 if 'cross' in step else None)
                )
                found |= layer(f'{stack}.{block}.{norm}', d)
    norm = 'dense_prompt_conv.1'
    return {
        **found,
        **mlp('sparse_prompt_mlp', d2, hidden, d2),
        **layer('dense_prompt_conv.0', d1 // 2, d1, 3, 3),
        **layer(norm, d1 // 2),
        f'{norm}.running_mean': (d1 // 2,),
        f'{norm}.running_var': (d1 // 2,),
        f'{norm}.num_batches_tracked': (),
        **layer('dense_prompt_conv.3', d1, d1 // 2, 3, 3),
    }


def official_shapes() -> Shapes:
    """Every key of the file and its shape."""
    encoder = 'backbone.model.image_encoder.base_model.model'
    return {
        **siglip_shapes(),
        **{f'{encoder}.{k}': v for k, v in adapt(image_encoder_shapes()).items()},
        **{f'backbone.model.{k}': v for k, v in prompts_and_decoder_shapes().items()},
        **{f'prompter.{k}': v for k, v in prompter_shapes().items()},
        **{f'decode_head.logit_{kind}{i}': () for kind in ('scale', 'bias') for i in (1, 2)},
    }


def official_state(seed: int = 0) -> dict[str, Tensor]:
    """Every weight random, of a size that keeps activations near 1."""
    generator = torch.Generator().manual_seed(seed)

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith('num_batches_tracked'):
            return torch.tensor(7)
        x = torch.randn(shape, generator=generator)
        if name.endswith('running_var'):
            return 0.5 + x.abs()
        if name.endswith('.weight') and len(shape) == 1:  # a norm's
            return 1 + 0.2 * x
        if 'logit_' in name:
            return 1 + 0.2 * x
        if name.endswith('bias') or 'embed' in name or '_pe' in name:
            return 0.3 * x
        return x / max(1, x[0].numel()) ** 0.5 if x.ndim > 1 else x

    return {name: draw(name, shape) for name, shape in official_shapes().items()}
