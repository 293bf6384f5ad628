"""SAM 2's image model, literally, on SAM 2's own names of weights; LoRA where a layer has it.

Sizes of the trunk come as `stages`, `heads` of the first stage, `windows` by stage and the numbers
of the `global_blocks`; they double from stage to stage.
"""

import math

import torch
import torch.nn.functional as F

from .layers import attention, layer_norm, linear, part


def adapted(weights):
    """A layer's own weights, or W + B A with PEFT's names (alpha = r: scale 1)."""
    if 'weight' in weights:
        return weights
    a, b = weights['lora_A.default.weight'], weights['lora_B.default.weight']
    update = torch.einsum('or,ri->oi', b.flatten(1), a.flatten(1))
    base = weights['base_layer.weight']
    return {'weight': base + update.reshape(base.shape), 'bias': weights['base_layer.bias']}


def conv(x, weights, stride=1, padding=0):
    weights = adapted(weights)
    return F.conv2d(x, weights['weight'], weights['bias'], stride=stride, padding=padding)


def layer_norm_2d(x, weights, eps=1e-6):
    """Over the channels of (B, C, h, w)."""
    return layer_norm(x.movedim(1, -1), weights, eps).movedim(-1, 1)


# ------------------------------------------------------------------ trunk and neck


def block_plan(stages, heads, windows, global_blocks):
    """Per block: heads, window (0: global), does it pool its queries, is it the last of a stage."""
    ends = [sum(stages[: i + 1]) - 1 for i in range(len(stages))]
    plan, stage = [], 0
    for i in range(sum(stages)):
        window = 0 if i in global_blocks else windows[stage]  # the first block of a stage still
        first = i - 1 in ends  # has the window of the one before
        if first:
            stage, heads = stage + 1, 2 * heads
        plan.append((heads, window, first, i in ends))
    return plan


def to_windows(x, size):
    """(B, H, W, C) -> (B * windows, size, size, C), zeros beyond the border, and the grid."""
    height, width = (math.ceil(n / size) * size for n in x.shape[1:3])
    padded = x.new_zeros(x.shape[0], height, width, x.shape[3])
    padded[:, : x.shape[1], : x.shape[2]] = x
    found = [
        padded[:, i : i + size, j : j + size]
        for i in range(0, height, size)
        for j in range(0, width, size)
    ]
    return torch.cat(found), (height // size, width // size)


def from_windows(x, grid, shape):
    """The reverse, cut to (H, W) = shape."""
    parts = x.chunk(grid[0] * grid[1])
    rows = [torch.cat(parts[i * grid[1] : (i + 1) * grid[1]], dim=2) for i in range(grid[0])]
    return torch.cat(rows, dim=1)[:, : shape[0], : shape[1]]


def pool(x):
    """The largest of each 2 x 2: (B, H, W, C) -> (B, H/2, W/2, C)."""
    return x.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).amax(dim=(2, 4))


def windowed_attention(x, w, heads, pooled):
    """(B, H, W, C) -> (B, H, W, C') or, with pooled queries, half of H and W."""
    q, k, v = linear(x, adapted(part(w, 'qkv'))).chunk(3, dim=-1)
    if pooled:
        q = pool(q)
    shape = q.shape[1:3]
    q, k, v = (y.flatten(1, 2).unflatten(-1, (heads, -1)) for y in (q, k, v))
    scores = torch.einsum('bqad,bkad->baqk', q, k) / math.sqrt(q.shape[-1])
    out = torch.einsum('baqk,bkad->bqad', scores.softmax(-1), v).flatten(2)
    return linear(out.unflatten(1, shape), adapted(part(w, 'proj')))


def trunk_block(x, w, heads, window, pooled):
    normed = layer_norm(x, part(w, 'norm1'), 1e-6)
    shortcut = pool(linear(normed, part(w, 'proj'))) if pooled else x
    if window:
        windows, grid = to_windows(normed, window)
        y = from_windows(
            windowed_attention(windows, part(w, 'attn'), heads, pooled), grid, shortcut.shape[1:3]
        )
    else:
        y = windowed_attention(normed, part(w, 'attn'), heads, pooled)
    x = shortcut + y
    hidden = F.gelu(linear(layer_norm(x, part(w, 'norm2'), 1e-6), part(w, 'mlp.layers.0')))
    return x + linear(hidden, part(w, 'mlp.layers.1'))


def image_encoder(images, w, sizes):
    """(B, 3, H, W) -> the neck's three finest maps, finest first, each (B, d2, h, w)."""
    x = conv(images, part(w, 'trunk.patch_embed.proj'), stride=4, padding=3)
    position = F.interpolate(w['trunk.pos_embed'], x.shape[2:], mode='bicubic')
    window = w['trunk.pos_embed_window']
    tiles = [n // m for n, m in zip(x.shape[2:], window.shape[2:])]
    x = (x + position + window.repeat(1, 1, *tiles)).movedim(1, -1)
    maps = []
    for i, (heads, size, pooled, last) in enumerate(block_plan(**sizes)):
        x = trunk_block(x, part(w, f'trunk.blocks.{i}'), heads, size, pooled)
        if last:
            maps.append(x.movedim(-1, 1))
    lateral = [conv(found, part(w, f'neck.convs.{3 - i}.conv')) for i, found in enumerate(maps)]
    # only the third map is fused with the one above it, which is then dropped
    coarse = lateral[3].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return lateral[0], lateral[1], lateral[2] + coarse


def encode_image(images, state, sizes):
    """-> (image embeddings with the memory embedding, high-resolution maps), by SAM 2's names."""
    encoder = part(state, 'image_encoder')
    encoder = {k.removeprefix('base_model.model.'): v for k, v in encoder.items()}
    fine, middle, coarse = image_encoder(images, encoder, sizes)
    decoder = part(state, 'sam_mask_decoder')
    return coarse + state['no_mem_embed'].reshape(1, -1, 1, 1), [
        conv(fine, part(decoder, 'conv_s0')),
        conv(middle, part(decoder, 'conv_s1')),
    ]


# ------------------------------------------------------------------ prompts and masks


def dense_embedding(mask_prompt, w):
    """(B, 1, 4h, 4w) logits -> (B, d2, h, w)."""
    x = conv(mask_prompt, part(w, 'mask_downscaling.0'), stride=2)
    x = F.gelu(layer_norm_2d(x, part(w, 'mask_downscaling.1')))
    x = conv(x, part(w, 'mask_downscaling.3'), stride=2)
    x = F.gelu(layer_norm_2d(x, part(w, 'mask_downscaling.4')))
    return conv(x, part(w, 'mask_downscaling.6'))


def image_position(size, w):
    """(1, d2, h, w): sine and cosine of random projections of each cell's centre in [-1, 1]."""
    matrix = w['pe_layer.positional_encoding_gaussian_matrix']
    h, w_ = size
    y = ((torch.arange(h, dtype=matrix.dtype) + 0.5) / h)[:, None].expand(h, w_)
    x = ((torch.arange(w_, dtype=matrix.dtype) + 0.5) / w_)[None].expand(h, w_)
    angle = 2 * math.pi * torch.einsum('hwc,cd->hwd', 2 * torch.stack([x, y], -1) - 1, matrix)
    return torch.cat([angle.sin(), angle.cos()], -1).movedim(-1, 0)[None]


def two_way(tokens, image, position, w, heads):
    """The decoder's transformer on (B, n, d2), (B, h*w, d2) and the image's position."""
    x = tokens
    for i in (0, 1):
        layer = part(w, f'layers.{i}')
        if i == 0:
            x = attention(x, x, x, part(layer, 'self_attn'), heads)
        else:
            x = x + attention(x + tokens, x + tokens, x, part(layer, 'self_attn'), heads)
        x = layer_norm(x, part(layer, 'norm1'))
        x = layer_norm(
            x
            + attention(
                x + tokens, image + position, image, part(layer, 'cross_attn_token_to_image'), heads
            ),
            part(layer, 'norm2'),
        )
        hidden = linear(x, part(layer, 'mlp.layers.0')).relu()
        x = layer_norm(x + linear(hidden, part(layer, 'mlp.layers.1')), part(layer, 'norm3'))
        image = layer_norm(
            image
            + attention(
                image + position, x + tokens, x, part(layer, 'cross_attn_image_to_token'), heads
            ),
            part(layer, 'norm4'),
        )
    x = layer_norm(
        x
        + attention(
            x + tokens, image + position, image, part(w, 'final_attn_token_to_image'), heads
        ),
        part(w, 'norm_final_attn'),
    )
    return x, image


def decode_all(embeddings, high_resolution, sparse, mask_prompt, state, heads):
    """-> logits (B, 4, 4h, 4w) of the mask tokens and their predicted IoU (B, 4)."""
    prompts, w = part(state, 'sam_prompt_encoder'), part(state, 'sam_mask_decoder')
    size = embeddings.shape[2:]
    own = torch.cat(
        [w[f'{name}.weight'] for name in ('obj_score_token', 'iou_token', 'mask_tokens')]
    )
    tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
    image = (embeddings + dense_embedding(mask_prompt, prompts)).flatten(2).mT
    position = image_position(size, prompts).flatten(2).mT
    x, image = two_way(tokens, image, position, part(w, 'transformer'), heads)
    up, image = part(w, 'output_upscaling'), image.mT.unflatten(2, size)

    def double(y, weights):
        return F.conv_transpose2d(y, weights['weight'], weights['bias'], stride=2)

    image = double(image, part(up, '0')) + high_resolution[1]
    image = F.gelu(layer_norm_2d(image, part(up, '1')))
    image = F.gelu(double(image, part(up, '3')) + high_resolution[0])

    def head(y, weights):
        for i in (0, 1):
            y = linear(y, part(weights, f'layers.{i}')).relu()
        return linear(y, part(weights, 'layers.2'))

    masks = [  # after the object-score and the IoU token
        torch.einsum(
            'bc,bchw->bhw', head(x[:, 2 + i], part(w, f'output_hypernetworks_mlps.{i}')), image
        )
        for i in range(4)
    ]
    return torch.stack(masks, 1), head(x[:, 1], part(w, 'iou_prediction_head')).sigmoid()


def decode(*inputs):
    """-> (B, 4h, 4w), the logits of mask token 0."""
    return decode_all(*inputs)[0][:, 0]


def stability(logits, delta):
    """How much of the mask at -delta is left at +delta: 1 for a mask without a pixel."""
    inner, outer = int((logits > delta).sum()), int((logits > -delta).sum())
    return inner / outer if outer else 1.0


def choose_by_stability(masks, ious, delta=0.05, threshold=0.98):
    """(B, 4, h, w), (B, 4) -> (B, h, w) and the chosen token of each: token 0 where its mask is
    stable, else the one of the others that promises the highest IoU."""
    tokens = []
    for logits, promised in zip(masks, ious):
        if stability(logits[0], delta) >= threshold:
            tokens.append(0)
        else:
            tokens.append(max((1, 2, 3), key=lambda i: float(promised[i])))
    return torch.stack([masks[i, token] for i, token in enumerate(tokens)]), tokens
