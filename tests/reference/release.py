"""The release's prompter and losses on its own names (``state/*`` of release_prompter.npz)."""
from .losses import orthogonal, sample_contrast, threshold_mask
from .prompter import prompter

N_T, N_HEADS, N_BLOCKS = 3, 8, 2

# release's name of a step -> the reference's; norms follow in the order in which they are passed
_INTERACTION = {'mlp_img_1': 'mlp_image', 'cross_attn_img_text_1': 'image_text',
                'norm_text_1': 'norm_text_self', 'norm_img_1': 'norm_image_text',
                'norm_img_2': 'norm_mlp_image'}
STEPS = {
    'decomposition': {
        name.format(i=i, j=3 - i): own.format(i=i)
        for i in (1, 2)
        for name, own in {
            'self_attn_query_query{i}': 'self_{i}', 'norm_query{i}_1': 'norm_self_{i}',
            'cross_attn_query_text_query{i}_text': 'word_{i}', 'norm_query{i}_2': 'norm_word_{i}',
            'mlp_query{i}_2': 'mlp_word_{i}', 'norm_query{i}_3': 'norm_mlp_word_{i}',
            'cross_attn_query_query_query{i}_query{j}': 'exchange_{i}',
            'norm_query{i}_4': 'norm_exchange_{i}',
            'mlp_query{i}_3': 'mlp_exchange_{i}', 'norm_query{i}_5': 'norm_mlp_exchange_{i}',
        }.items()},
    'first_order': {'self_attn_text_text_1': 'text_self', **_INTERACTION},
    'second_order': {'self_attn_text_1': 'text_self', **_INTERACTION},
    'sparse': {
        'self_attn_prompt_1': 'prompt_self', 'norm_prompt_1': 'norm_prompt_self',
        'cross_attn_prompt_text_1': 'prompt_text', 'norm_prompt_2': 'norm_prompt_text',
        'mlp_prompt_2': 'mlp_text', 'norm_prompt_3': 'norm_mlp_text',
        'cross_attn_prompt_img_1': 'prompt_image', 'norm_prompt_4': 'norm_prompt_image',
        'mlp_prompt_3': 'mlp_image', 'norm_prompt_5': 'norm_mlp_image'},
}
STACKS = {'two_queries_text_attn_layers': ('decomposition',),
          'queries1_to_img_attn_layers': ('first_order',),
          'prompt_queries2_img_attn_layers': ('second_order', 'sparse')}
LONE = {'text_query_pe_embedding1': 'pe_1', 'text_query_pe_embedding2': 'pe_2',
        'prompt_embedding': 'prompts', 'prompt_pe_embedding': 'prompt_pe'}


def rename(key):
    """A release name of the prompter -> the reference's."""
    if key in LONE:
        return LONE[key]
    head, _, rest = key.partition('.')
    if head in ('sparse_prompt_mlp', 'dense_prompt_conv'):
        return {'sparse_prompt_mlp': 'sparse_mlp', 'dense_prompt_conv': 'dense'}[head] + '.' + rest
    block, step, rest = rest.split('.', 2)
    for part in STACKS[head]:
        if step in STEPS[part]:
            return f'{part}.{block}.{STEPS[part][step]}.{rest}'
    raise KeyError(f'{key}: no step {step!r} in {STACKS[head]}')


def reference_weights(state, logit_scale, logit_bias):
    """The release's state (tensors by release name) as the reference's dict."""
    weights = {rename(k): v for k, v in state.items() if k != 'img_pe'}
    pe = state['img_pe'][0]  # d1 h1 w1, position (i, j) is token i * w1 + j
    weights['image_pe'] = pe.flatten(1).T
    return dict(weights, scale=logit_scale, bias=logit_bias)


def release_prompter(state, visual, t_word, t_sent, logit_scale, logit_bias, *, size, out_size):
    """Section 2 of the release: interleaved, GELU, align_corners=True, all words read."""
    return prompter(visual, t_word, t_sent, reference_weights(state, logit_scale, logit_bias),
                    n_t=N_T, n_heads=N_HEADS, n_blocks=N_BLOCKS, size=size, out_size=out_size,
                    order='interleaved', activation='gelu', align_corners=True)


def release_losses(t1, t2, visual, mask, scale, bias, *, size):
    """Section 3: (ortho, sample contrast with thresholded masks, a bias, the diagonal)."""
    low = threshold_mask(mask, size)
    return orthogonal(t1, t2), sample_contrast(visual, t2, low, scale=scale, bias=bias)
