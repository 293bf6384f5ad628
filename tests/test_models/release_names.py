"""SAM2's own names of weights -> transformers' (`Sam2Model`), as plain renames."""

import re

import torch

_BLOCK = {
    'norm1': 'layer_norm1',
    'norm2': 'layer_norm2',
    'mlp.layers.0': 'mlp.proj_in',
    'mlp.layers.1': 'mlp.proj_out',
}
_MASK_EMBED = {'0': 'conv1', '1': 'layer_norm1', '3': 'conv2', '4': 'layer_norm2', '6': 'conv3'}
_UPSCALING = {'0': 'upscale_conv1', '1': 'upscale_layer_norm', '3': 'upscale_conv2'}
_HEAD = {'0': 'proj_in', '1': 'layers.0', '2': 'proj_out'}
_RULES = (
    (
        r'image_encoder\.trunk\.patch_embed\.proj\.',
        lambda m: 'vision_encoder.backbone.patch_embed.projection.',
    ),
    (
        r'image_encoder\.trunk\.blocks\.(\d+)\.(norm[12]|mlp\.layers\.[01])\.',
        lambda m: f'vision_encoder.backbone.blocks.{m[1]}.{_BLOCK[m[2]]}.',
    ),
    (r'image_encoder\.trunk\.', lambda m: 'vision_encoder.backbone.'),
    (r'image_encoder\.neck\.convs\.(\d)\.conv\.', lambda m: f'vision_encoder.neck.convs.{m[1]}.'),
    (
        r'sam_prompt_encoder\.mask_downscaling\.(\d)\.',
        lambda m: f'prompt_encoder.mask_embed.{_MASK_EMBED[m[1]]}.',
    ),
    (r'sam_prompt_encoder\.', lambda m: 'prompt_encoder.'),
    (r'sam_mask_decoder\.output_upscaling\.(\d)\.', lambda m: f'mask_decoder.{_UPSCALING[m[1]]}.'),
    (
        r'sam_mask_decoder\.(output_hypernetworks_mlps\.\d|iou_prediction_head|pred_obj_score_head)'
        r'\.layers\.(\d)\.',
        lambda m: f'mask_decoder.{m[1]}.{_HEAD[m[2]]}.',
    ),
    (r'sam_mask_decoder\.', lambda m: 'mask_decoder.'),
    (r'no_mem_embed', lambda m: 'no_memory_embedding'),
)
_TRANSFORMER = (
    ('out_proj', 'o_proj'),
    ('norm_final_attn', 'layer_norm_final_attn'),
    ('mlp.layers.0', 'mlp.proj_in'),
    ('mlp.layers.1', 'mlp.proj_out'),
    *((f'.norm{i}.', f'.layer_norm{i}.') for i in range(1, 5)),
)


def transformers_name(name: str) -> str:
    """One of SAM2's names -> transformers' (the prompt encoder's point parts excepted)."""
    for pattern, new in _RULES:
        name, hit = re.subn('^' + pattern, new, name)
        if hit:
            break
    else:
        raise KeyError(name)
    if name.startswith('mask_decoder.transformer.'):
        for old, new in _TRANSFORMER:
            name = name.replace(old, new)
    return name


def transformers_state(state: dict) -> dict:
    """SAM2's state dict -> `Sam2Model`'s; the four point embeddings become one table, and the
    Fourier matrix serves prompts and image alike."""
    state = dict(state)
    prompt = 'sam_prompt_encoder'
    fourier = state.pop(f'{prompt}.pe_layer.positional_encoding_gaussian_matrix')
    points = [state.pop(f'{prompt}.point_embeddings.{i}.weight') for i in range(4)]
    return {transformers_name(k): v for k, v in state.items()} | {
        'prompt_encoder.shared_embedding.positional_embedding': fourier,
        'shared_image_embedding.positional_embedding': fourier,
        'prompt_encoder.point_embed.weight': torch.cat(points),
    }
