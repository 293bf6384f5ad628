"""The release on its own names: prompter and losses (``state/*`` of release_prompter.npz), and the
whole model from a checkpoint's ``state_dict``."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from .layers import part
from .losses import cross_entropy, orthogonal, sample_contrast, threshold_mask
from .prompter import prompter
from .sam2 import choose_by_stability, decode_all, encode_image
from .siglip import image_tower, text_tower

N_T, N_HEADS, N_BLOCKS = 3, 8, 2

# release's name of a step -> the reference's; norms follow in the order in which they are passed
_INTERACTION = {
    'mlp_img_1': 'mlp_image',
    'cross_attn_img_text_1': 'image_text',
    'norm_text_1': 'norm_text_self',
    'norm_img_1': 'norm_image_text',
    'norm_img_2': 'norm_mlp_image',
}
STEPS = {
    'decomposition': {
        name.format(i=i, j=3 - i): own.format(i=i)
        for i in (1, 2)
        for name, own in {
            'self_attn_query_query{i}': 'self_{i}',
            'norm_query{i}_1': 'norm_self_{i}',
            'cross_attn_query_text_query{i}_text': 'word_{i}',
            'norm_query{i}_2': 'norm_word_{i}',
            'mlp_query{i}_2': 'mlp_word_{i}',
            'norm_query{i}_3': 'norm_mlp_word_{i}',
            'cross_attn_query_query_query{i}_query{j}': 'exchange_{i}',
            'norm_query{i}_4': 'norm_exchange_{i}',
            'mlp_query{i}_3': 'mlp_exchange_{i}',
            'norm_query{i}_5': 'norm_mlp_exchange_{i}',
        }.items()
    },
    'first_order': {'self_attn_text_text_1': 'text_self', **_INTERACTION},
    'second_order': {'self_attn_text_1': 'text_self', **_INTERACTION},
    'sparse': {
        'self_attn_prompt_1': 'prompt_self',
        'norm_prompt_1': 'norm_prompt_self',
        'cross_attn_prompt_text_1': 'prompt_text',
        'norm_prompt_2': 'norm_prompt_text',
        'mlp_prompt_2': 'mlp_text',
        'norm_prompt_3': 'norm_mlp_text',
        'cross_attn_prompt_img_1': 'prompt_image',
        'norm_prompt_4': 'norm_prompt_image',
        'mlp_prompt_3': 'mlp_image',
        'norm_prompt_5': 'norm_mlp_image',
    },
}
STACKS = {
    'two_queries_text_attn_layers': ('decomposition',),
    'queries1_to_img_attn_layers': ('first_order',),
    'prompt_queries2_img_attn_layers': ('second_order', 'sparse'),
}
LONE = {
    'text_query_pe_embedding1': 'pe_1',
    'text_query_pe_embedding2': 'pe_2',
    'prompt_embedding': 'prompts',
    'prompt_pe_embedding': 'prompt_pe',
}


def rename(key):
    """A release name of the prompter -> the reference's."""
    if key in LONE:
        return LONE[key]
    head, _, rest = key.partition('.')
    if head in ('sparse_prompt_mlp', 'dense_prompt_conv'):
        return {'sparse_prompt_mlp': 'sparse_mlp', 'dense_prompt_conv': 'dense'}[head] + '.' + rest
    block, step, rest = rest.split('.', 2)
    for stack in STACKS[head]:
        if step in STEPS[stack]:
            return f'{stack}.{block}.{STEPS[stack][step]}.{rest}'
    raise KeyError(f'{key}: no step {step!r} in {STACKS[head]}')


def reference_weights(state, logit_scale, logit_bias):
    """The release's state (tensors by release name) as the reference's dict."""
    weights = {rename(k): v for k, v in state.items() if k != 'img_pe'}
    pe = state['img_pe'][0]  # d1 h1 w1, position (i, j) is token i * w1 + j
    weights['image_pe'] = pe.flatten(1).T
    return dict(weights, scale=logit_scale, bias=logit_bias)


def release_prompter(
    state, visual, t_word, t_sent, logit_scale, logit_bias, *, size, out_size, n_heads=N_HEADS
):
    """Section 2 of the release: interleaved, GELU, align_corners=True, all words read."""
    return prompter(
        visual,
        t_word,
        t_sent,
        reference_weights(state, logit_scale, logit_bias),
        n_t=N_T,
        n_heads=n_heads,
        n_blocks=N_BLOCKS,
        size=size,
        out_size=out_size,
        order='interleaved',
        activation='gelu',
        align_corners=True,
    )


def release_losses(t1, t2, visual, mask, scale, bias, *, size):
    """Section 3: (ortho, sample contrast with thresholded masks, a bias, the diagonal)."""
    low = threshold_mask(mask, size)
    return orthogonal(t1, t2), sample_contrast(visual, t2, low, scale=scale, bias=bias)


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def release_images(images, side_siglip, side_sam):
    """uint8 (3, H, W) -> SigLIP's and SAM's input: SigLIP's is SAM's, shrunk.

    The longer side becomes SAM's, in 8 bits; what is left at the right or the bottom is black.
    """
    squares = []
    for image in images:
        height, width = image.shape[1:]
        scale = side_sam / max(height, width)
        new = int(width * scale + 0.5), int(height * scale + 0.5)
        pixels = cv2.resize(image.permute(1, 2, 0).numpy(), new)
        square = np.zeros((side_sam, side_sam, 3), np.uint8)
        square[: new[1], : new[0]] = pixels
        squares.append(torch.from_numpy(square).permute(2, 0, 1).double() / 255)
    sam = torch.stack(squares)
    siglip = F.interpolate(
        (sam - 0.5) / 0.5, (side_siglip, side_siglip), mode='bilinear', align_corners=False
    )
    mean, std = (
        torch.tensor(x, dtype=sam.dtype)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return siglip, (sam - mean) / std


def release_forward(state, siglip, sam_images, ids, *, sizes):
    """A checkpoint's ``state_dict`` (official names) on one image per sentence -> all by name.

    ``ids`` (B, L) are padded to the longest sentence; every position is read. ``sizes``: heads of
    the towers, the prompter and SAM's decoder, and the trunk's (sam2.py).
    """
    vision, text = (
        part(state, f'clip_{name}_encoder.base_model.model.model') for name in ('vision', 'text')
    )
    sam = part(state, 'backbone.model')
    v = image_tower(siglip, vision, sizes['siglip_heads'])
    t_word, t_sent = text_tower(ids, text, sizes['siglip_heads'])
    scale, bias = (
        state[f'clip_text_encoder.base_model.model.logit_{name}'] for name in ('scale', 'bias')
    )
    embeddings, high_resolution = encode_image(sam_images, sam, sizes['trunk'])
    grid = state['prompter.img_pe'].shape[2:]
    found = release_prompter(
        part(state, 'prompter'),
        v,
        t_word,
        t_sent,
        scale,
        bias,
        size=grid,
        out_size=[4 * side for side in embeddings.shape[2:]],
        n_heads=sizes['prompter_heads'],
    )
    masks, ious = decode_all(
        embeddings,
        high_resolution,
        found['p_sparse'],
        found['p_dense'],
        sam,
        sizes['decoder_heads'],
    )
    mask_logits, tokens = choose_by_stability(masks, ious)
    return dict(
        found,
        v=v,
        t_word=t_word,
        t_sent=t_sent,
        image_embeddings=embeddings,
        mask_logits=mask_logits,
        tokens=tokens,
    )


def release_mask(mask_logits, side_sam, shape):
    """(B, 4h, 4w) -> (B, *shape): to SAM's input, its border cut off, then to the original size."""
    large = F.interpolate(
        mask_logits[:, None], (side_sam, side_sam), mode='bilinear', align_corners=False
    )
    scale = side_sam / max(shape)
    height, width = (int(length * scale + 0.5) for length in shape)
    large = large[:, :, :height, :width]
    return F.interpolate(large, shape, mode='bilinear', align_corners=False)[:, 0]


def squared_dice(logits, target, eps=1e-3):
    """The release's Dice: 1 - 2 sum py / (sum p^2 + eps + sum y^2 + eps), mean over samples."""
    p, y = torch.sigmoid(logits).flatten(1), target.to(logits.dtype).flatten(1)
    return (1 - 2 * (p * y).sum(1) / ((p * p).sum(1) + (y * y).sum(1) + 2 * eps)).mean()


def release_recipe(state, found, masks):
    """Section 1's losses, weighted: masks (B, H, W), all of one size."""
    logits = F.interpolate(
        found['mask_logits'][:, None], masks.shape[1:], mode='bilinear', align_corners=False
    )[:, 0]
    ortho, contrast = release_losses(
        found['t1'],
        found['t2'],
        found['v'],
        masks,
        state['decode_head.logit_scale2'].exp(),
        state['decode_head.logit_bias2'],
        size=state['prompter.img_pe'].shape[2:],
    )
    return dict(
        loss_ce=5 * cross_entropy(logits, masks),
        loss_dice=5 * squared_dice(logits, masks),
        loss_ortho=0.5 * ortho,
        loss_sample=0.5 * contrast,
    )
