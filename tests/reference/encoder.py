"""Eq. 2, literally: v, t_word and t_sent from the last layer's states of SigLIP's two towers.

What the towers' own layers make of pixels and ids is SigLIP's (transformers' `SiglipModel`, given
the ids padded on the right to full length and no attention mask); what Eq. 2 takes of it is here.
Weights: ``post_layernorm`` (vision), ``final_layer_norm`` and ``head`` (text).
"""

import torch

from .layers import layer_norm, linear, part


def encode_images(states, weights, eps):
    """(U, h1*w1, d1) states of the last layer -> v: normed, every patch, no pooling."""
    return layer_norm(states, part(weights, 'post_layernorm'), eps)


def encode_text(states, weights, eps, n_words, d1):
    """(B, positions, width) states of the last layer, B counts of tokens without eos ->
    t_word, B times (n_words, d1), and t_sent (B, d1)."""
    normed = layer_norm(states, part(weights, 'final_layer_norm'), eps)
    head = part(weights, 'head')
    t_word, t_sent = [], []
    for b in range(len(normed)):
        words = []
        for i in range(n_words[b]):
            word = normed[b, i]
            words.append(word if word.shape[0] == d1 else linear(word, head))
        t_word.append(torch.stack(words))
        t_sent.append(linear(normed[b, normed.shape[1] - 1], head))
    return t_word, torch.stack(t_sent)
