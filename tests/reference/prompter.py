"""Eqs. 4-6: decomposition of the sentence, text-visual interaction, sparse prompts.

Names of weights, per block (an attention is ``<name>.{q,k,v,out}_proj.*``, an MLP
``<name>.layers.{0,1}.*``, and each step <name> ends in a LayerNorm ``norm_<name>.*``):

- decomposition: ``self_{1,2}``, ``word_{1,2}``, ``mlp_word_{1,2}``, ``exchange_{1,2}``,
  ``mlp_exchange_{1,2}``
- interaction: ``text_self``, ``image_text``, ``mlp_image``
- sparse prompts: ``prompt_self``, ``prompt_text``, ``mlp_text``, ``prompt_image``, ``mlp_image``

Blocks are ``0.``, ``1.``, ... Shapes: words (B, L, d1), t_1 and t_2 (B, n_t, d1), v (B, h1*w1, d1),
prompts (B, n_p, d2); position embeddings (n_t, d1), (h1*w1, d1), (n_p, d2).
"""

import math

import torch

from .layers import attention_step, mlp, mlp_step, part


def textpool(words, lengths, n_t):
    """Adaptive average of each sentence's own L words.

    (B, L, d1), (B,) -> (B, n_t, d1). Bin i holds the words from floor(i L / n_t) to before
    ceil((i + 1) L / n_t); bins overlap where they must, as in a sentence of fewer words than n_t.
    """
    sentences = []
    for b in range(words.shape[0]):
        n = int(lengths[b])
        bins = []
        for i in range(n_t):
            first, last = math.floor(i * n / n_t), math.ceil((i + 1) * n / n_t)
            total = torch.zeros_like(words[b, 0])
            for j in range(first, last):
                total = total + words[b, j]
            bins.append(total / (last - first))
        sentences.append(torch.stack(bins))
    return torch.stack(sentences)


def decomposition_block(t1, t2, words, w, *, n_heads, pe1, pe2, lengths):
    """Eq. 4, one block: self, words, then the exchange in turn (1 reads 2, 2 the updated 1)."""
    t1 = attention_step(t1, None, w, 'self_1', n_heads=n_heads, x_pos=pe1)
    t2 = attention_step(t2, None, w, 'self_2', n_heads=n_heads, x_pos=pe2)

    t1 = attention_step(t1, words, w, 'word_1', n_heads=n_heads, x_pos=pe1, key_lengths=lengths)
    t1 = mlp_step(t1, w, 'mlp_word_1')
    t2 = attention_step(t2, words, w, 'word_2', n_heads=n_heads, x_pos=pe2, key_lengths=lengths)
    t2 = mlp_step(t2, w, 'mlp_word_2')

    # the paper prints t_2 on the left of this line; what is updated is t_1
    t1 = attention_step(t1, t2, w, 'exchange_1', n_heads=n_heads, x_pos=pe1, context_pos=pe2)
    t1 = mlp_step(t1, w, 'mlp_exchange_1')
    t2 = attention_step(t2, t1, w, 'exchange_2', n_heads=n_heads, x_pos=pe2, context_pos=pe1)
    t2 = mlp_step(t2, w, 'mlp_exchange_2')
    return t1, t2


def decomposition(words, w, *, n_t, n_blocks, n_heads, pe1, pe2, lengths=None):
    """Eq. 4: t_1, t_2 from the words; both start as the pooled words. ``lengths=None``: all words.

    Returns two tensors (B, n_t, d1).
    """
    if lengths is None:
        lengths = [words.shape[1]] * words.shape[0]
    t1 = t2 = textpool(words, lengths, n_t)
    for n in range(n_blocks):
        t1, t2 = decomposition_block(
            t1, t2, words, part(w, str(n)), n_heads=n_heads, pe1=pe1, pe2=pe2, lengths=lengths
        )
    return t1, t2


def interaction_block(v, t, w, *, n_heads, text_pe, image_pe):
    """Eq. 5, one block: the text attends to itself, the image to the text, then the MLP."""
    t = attention_step(t, None, w, 'text_self', n_heads=n_heads, x_pos=text_pe)
    v = attention_step(v, t, w, 'image_text', n_heads=n_heads, x_pos=image_pe, context_pos=text_pe)
    v = mlp_step(v, w, 'mlp_image')
    return v, t


def interaction(v, t, w, *, n_blocks, n_heads, text_pe, image_pe):
    """Eq. 5, one order: (v', t'). ``image_pe=None`` where the embedding was added to v itself."""
    for n in range(n_blocks):
        v, t = interaction_block(
            v, t, part(w, str(n)), n_heads=n_heads, text_pe=text_pe, image_pe=image_pe
        )
    return v, t


def sparse_prompt_block(p, t, v, w, *, n_heads, prompt_pe, text_pe, image_pe):
    """Eq. 6, one block, sequential: self, then t'_2, then v'_2, each read by the line before."""
    p = attention_step(p, None, w, 'prompt_self', n_heads=n_heads, x_pos=prompt_pe)
    p = attention_step(
        p, t, w, 'prompt_text', n_heads=n_heads, x_pos=prompt_pe, context_pos=text_pe
    )
    p = mlp_step(p, w, 'mlp_text')
    p = attention_step(
        p, v, w, 'prompt_image', n_heads=n_heads, x_pos=prompt_pe, context_pos=image_pe
    )
    p = mlp_step(p, w, 'mlp_image')
    return p


def sparse_prompts(prompts, t, v, w, *, n_blocks, n_heads, prompt_pe, text_pe, image_pe):
    """Eq. 6 as a stack of its own; ``prompts`` (n_p, d2), the result before the last MLP."""
    p = prompts.expand(t.shape[0], *prompts.shape)
    for n in range(n_blocks):
        p = sparse_prompt_block(
            p,
            t,
            v,
            part(w, str(n)),
            n_heads=n_heads,
            prompt_pe=prompt_pe,
            text_pe=text_pe,
            image_pe=image_pe,
        )
    return p


def interleaved(
    v,
    t,
    prompts,
    w_interaction,
    w_sparse,
    *,
    n_blocks,
    n_heads,
    text_pe,
    image_pe,
    prompt_pe,
    values_too=False,
):
    """The release's order: block n of the second order, then block n of the prompts.

    Returns (v'_2, t'_2, prompts before the last MLP).
    """
    p = prompts.expand(t.shape[0], *prompts.shape)
    for n in range(n_blocks):
        v, t = interaction_block(
            v, t, part(w_interaction, str(n)), n_heads=n_heads, text_pe=text_pe, image_pe=image_pe
        )
        p = sparse_prompt_block(
            p,
            t,
            v + image_pe if values_too else v,
            part(w_sparse, str(n)),
            n_heads=n_heads,
            prompt_pe=prompt_pe,
            text_pe=text_pe,
            image_pe=None if values_too else image_pe,
        )
    return v, t, p


def prompter(
    v,
    words,
    t_sent,
    w,
    *,
    n_t,
    n_heads,
    n_blocks,
    size,
    out_size,
    lengths=None,
    position='queries_keys',
    order='separate',
    activation='relu',
    align_corners=False,
    training=False,
):
    """Eqs. 3-7 in a row; ``w`` holds the parts by name, ``n_blocks`` four numbers or one.

    ``w``: ``pe_1``, ``pe_2``, ``image_pe`` (h1*w1, d1), ``prompts``, ``prompt_pe``, ``scale``,
    ``bias``; ``decomposition.``, ``first_order.``, ``second_order.``, ``sparse.``, ``sparse_mlp.``,
    ``dense.``. ``position``: the image's embedding on queries and keys, on values, too (v is one
    in Eq. 6 alone), or added to v itself.
    """
    from .dense import dense_prompt

    counts = [n_blocks] * 4 if isinstance(n_blocks, int) else list(n_blocks)
    image_pe = w['image_pe']
    if position == 'added_to_v':
        v, image_pe = v + image_pe, None
    t1, t2 = decomposition(
        words,
        part(w, 'decomposition'),
        n_t=n_t,
        n_blocks=counts[0],
        n_heads=n_heads,
        pe1=w['pe_1'],
        pe2=w['pe_2'],
        lengths=lengths,
    )
    v1_act, t1_act = interaction(
        v,
        t1,
        part(w, 'first_order'),
        n_blocks=counts[1],
        n_heads=n_heads,
        text_pe=w['pe_1'],
        image_pe=image_pe,
    )
    shared = dict(n_heads=n_heads, text_pe=w['pe_2'], image_pe=image_pe)
    if order == 'interleaved':
        v2_act, t2_act, p = interleaved(
            v1_act,
            t2,
            w['prompts'],
            part(w, 'second_order'),
            part(w, 'sparse'),
            n_blocks=counts[2],
            prompt_pe=w['prompt_pe'],
            values_too=position == 'values_too',
            **shared,
        )
    else:
        v2_act, t2_act = interaction(
            v1_act, t2, part(w, 'second_order'), n_blocks=counts[2], **shared
        )
        read = v2_act
        if position == 'values_too':
            read, shared['image_pe'] = v2_act + image_pe, None
        p = sparse_prompts(
            w['prompts'],
            t2_act,
            read,
            part(w, 'sparse'),
            n_blocks=counts[3],
            prompt_pe=w['prompt_pe'],
            **shared,
        )
    p_sparse = mlp(p, part(w, 'sparse_mlp'))
    p_dense = dense_prompt(
        v2_act,
        t_sent,
        part(w, 'dense'),
        scale=w['scale'],
        bias=w['bias'],
        size=size,
        out_size=out_size,
        activation=activation,
        align_corners=align_corners,
        training=training,
    )
    return dict(
        t1=t1,
        t2=t2,
        t1_act=t1_act,
        v1_act=v1_act,
        t2_act=t2_act,
        v2_act=v2_act,
        p_sparse=p_sparse,
        p_dense=p_dense,
    )
