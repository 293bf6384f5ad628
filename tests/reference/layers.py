"""The pieces that Eqs. 4-6 are written with: attention, MLP, and x <- LN(x + f(x)).

Letters: ``b`` sentence, ``a`` head, ``q`` query, ``k`` key, ``c``, ``d`` and ``o`` channels.
"""

import math

import torch

LAYER_NORM_EPS = 1e-5


def part(weights, prefix):
    """The weights whose name starts with ``prefix.``, under the rest of their name."""
    found = {k[len(prefix) + 1 :]: v for k, v in weights.items() if k.startswith(prefix + '.')}
    if not found:
        raise KeyError(f'no weight named {prefix}.*')
    return found


def linear(x, weights):
    """y_o = sum_c W_oc x_c + b_o."""
    return torch.einsum('...c,oc->...o', x, weights['weight']) + weights['bias']


def layer_norm(x, weights, eps=LAYER_NORM_EPS):
    """(x - mean) / sqrt(var + eps) * gain + shift, over the last axis, var biased."""
    mean = x.mean(dim=-1, keepdim=True)
    var = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(var + eps) * weights['weight'] + weights['bias']


def gelu(x):
    """x Phi(x), Phi the normal distribution function (the exact form, not the tanh one)."""
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def relu(x):
    """max(x, 0)."""
    return torch.where(x > 0, x, torch.zeros_like(x))


ACTIVATIONS = {'gelu': gelu, 'relu': relu}


def mlp(x, weights, activation='gelu'):
    """W_1 act(W_0 x + b_0) + b_1; weights ``layers.0.*``, ``layers.1.*``."""
    hidden = ACTIVATIONS[activation](linear(x, part(weights, 'layers.0')))
    return linear(hidden, part(weights, 'layers.1'))


def attention(queries, keys, values, weights, n_heads, key_lengths=None):
    """Multi-head attention, one sentence and one head at a time.

    ``queries`` (B, n_q, d_q), ``keys`` and ``values`` (B, n_k, d_k); the projections ``q_proj``,
    ``k_proj``, ``v_proj`` lead to an inner width of n_heads * s, ``out_proj`` back to d_q.
    ``key_lengths`` (B,): only the first ``key_lengths[b]`` keys of sentence b exist.
    """
    q = linear(queries, part(weights, 'q_proj'))
    k = linear(keys, part(weights, 'k_proj'))
    v = linear(values, part(weights, 'v_proj'))
    size = q.shape[-1] // n_heads
    sentences = []
    for b in range(q.shape[0]):
        n_k = k.shape[1] if key_lengths is None else int(key_lengths[b])
        heads = []
        for a in range(n_heads):
            own = slice(a * size, (a + 1) * size)
            scores = torch.einsum('qd,kd->qk', q[b, :, own], k[b, :n_k, own]) / math.sqrt(size)
            weight = torch.exp(scores - scores.amax(dim=1, keepdim=True))
            weight = weight / weight.sum(dim=1, keepdim=True)
            heads.append(torch.einsum('qk,kd->qd', weight, v[b, :n_k, own]))
        sentences.append(torch.cat(heads, dim=1))
    return linear(torch.stack(sentences), part(weights, 'out_proj'))


def attention_step(
    x, context, weights, name, *, n_heads, x_pos=None, context_pos=None, key_lengths=None
):
    """x <- LN(x + Attn(x + pos, context + pos', context)); weights ``name``, ``norm_<name>``.

    ``context=None`` is self-attention. Positions enter queries and keys, never values.
    """
    if context is None:
        context, context_pos = x, x_pos
    queries = x if x_pos is None else x + x_pos
    keys = context if context_pos is None else context + context_pos
    update = attention(queries, keys, context, part(weights, name), n_heads, key_lengths)
    return layer_norm(x + update, part(weights, f'norm_{name}'))


def mlp_step(x, weights, name):
    """x <- LN(x + MLP(x)); weights ``name``, ``norm_<name>``."""
    return layer_norm(x + mlp(x, part(weights, name)), part(weights, f'norm_{name}'))
