"""SigLIP's two towers, literally, on transformers' names of weights; LoRA where a layer has it."""

import math

import torch
import torch.nn.functional as F

from .layers import attention, layer_norm, linear, part
from .sam2 import adapted

EPS = 1e-6


def gelu_tanh(x):
    """The tanh form that SigLIP was trained with."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def encoder(x, w, heads):
    """x <- x + Attn(LN(x)); x <- x + MLP(LN(x)), layer by layer."""
    layers = 1 + max(int(name.split('.')[2]) for name in w if name.startswith('encoder.layers.'))
    for i in range(layers):
        layer = part(w, f'encoder.layers.{i}')
        attn = {
            f'{name}.{key}': value
            for name in ('q_proj', 'k_proj', 'v_proj', 'out_proj')
            for key, value in adapted(part(layer, f'self_attn.{name}')).items()
        }
        y = layer_norm(x, part(layer, 'layer_norm1'), EPS)
        x = x + attention(y, y, y, attn, heads)
        y = gelu_tanh(
            linear(layer_norm(x, part(layer, 'layer_norm2'), EPS), part(layer, 'mlp.fc1'))
        )
        x = x + linear(y, part(layer, 'mlp.fc2'))
    return x


def image_tower(images, w, heads):
    """(B, 3, H1, W1) -> v (B, h1*w1, d1), without the pooling head."""
    patches = part(w, 'embeddings.patch_embedding')
    x = F.conv2d(images, patches['weight'], patches['bias'], stride=patches['weight'].shape[-1])
    x = x.flatten(2).mT + w['embeddings.position_embedding.weight']
    return layer_norm(encoder(x, w, heads), part(w, 'post_layernorm'), EPS)


def text_tower(ids, w, heads):
    """(B, L) -> every position's state (B, L, d), and the head's on the last one (B, d1)."""
    x = (
        w['embeddings.token_embedding.weight'][ids]
        + w['embeddings.position_embedding.weight'][: ids.shape[1]]
    )
    x = layer_norm(encoder(x, w, heads), part(w, 'final_layer_norm'), EPS)
    return x, linear(x[:, -1], adapted(part(w, 'head')))
