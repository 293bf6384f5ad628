"""Eqs. 3-7 against their literal transcriptions, forward and gradient; and for each equation a
seeded fault in the package that the comparison must notice."""

import pytest
import torch

from rsrefseg2.models.prompter import dense_prompt, layers, semantic_decomposition
from rsrefseg2.models.prompter.cascaded_prompter import CascadedPrompter
from rsrefseg2.models.prompter.interleaved_prompter import InterleavedPrompter
from rsrefseg2.models.prompter.semantic_decomposition import DecompositionBlock
from rsrefseg2.models.prompter.sparse_prompt import SparsePromptBlock
from rsrefseg2.models.prompter.text_visual_interaction import InteractionBlock
from tests.reference import dense as ref_dense
from tests.reference import layers as ref_layers
from tests.reference import prompter as ref
from tests.test_models import prompter_cases
from tests.test_models import seeded_faults as faulty
from tests.test_models.prompter_cases import (
    D1,
    GRID,
    HEADS,
    INNER,
    LENGTHS,
    N_T,
    PROMPT,
    assert_same,
    inputs,
    reference_weights,
    tiny_prompter,
)


def leaves_of(module, **tensors):
    return dict(module.named_parameters()) | tensors


# --- one comparison per equation -----------------------------------------------------------------


def check_attention():
    """Attention with an inner width that is not d, other keys than queries, and a key mask."""
    torch.manual_seed(0)
    attention = layers.Attention(d=D1, inner=INNER, heads=HEADS).double()
    v, text = inputs()
    out = attention(v, text.t_word, text.t_word * 2, text.word_mask)
    expected = ref_layers.attention(
        v, text.t_word, text.t_word * 2, dict(attention.named_parameters()), HEADS, LENGTHS
    )
    assert_same(dict(out=out), dict(out=expected), leaves_of(attention, v=v, t_word=text.t_word))


def check_mlp_step():
    """x <- LN(x + MLP(x))."""
    step = tiny_prompter().first_order.blocks[0].image_mlp
    v, _ = inputs()
    weights = {
        'm.layers.0.weight': step.mlp[0].weight,
        'm.layers.0.bias': step.mlp[0].bias,
        'm.layers.1.weight': step.mlp[2].weight,
        'm.layers.1.bias': step.mlp[2].bias,
        'norm_m.weight': step.norm.weight,
        'norm_m.bias': step.norm.bias,
    }
    assert_same(
        dict(out=step(v)), dict(out=ref_layers.mlp_step(v, weights, 'm')), leaves_of(step, v=v)
    )


def check_textpool():
    """The pooled words, for sentences of 7, 2 and 4 words and n_t = 3."""
    _, text = inputs()
    out = semantic_decomposition.text_pool(text.t_word, text.word_mask, N_T)
    assert_same(
        dict(out=out), dict(out=ref.textpool(text.t_word, LENGTHS, N_T)), dict(t_word=text.t_word)
    )


def check_eq4():
    """Referring semantic decomposition."""
    prompter = tiny_prompter()
    _, text = inputs()
    t1, t2 = prompter.decomposition(text.t_word, text.word_mask)
    w = reference_weights(prompter)
    e1, e2 = ref.decomposition(
        text.t_word,
        ref_layers.part(w, 'decomposition'),
        n_t=N_T,
        n_blocks=2,
        n_heads=HEADS,
        pe1=w['pe_1'],
        pe2=w['pe_2'],
        lengths=LENGTHS,
    )
    assert_same(
        dict(t1=t1, t2=t2),
        dict(t1=e1, t2=e2),
        leaves_of(prompter.decomposition, t_word=text.t_word),
    )


def check_eq5():
    """Text-visual interaction, one order; its text has n_t vectors."""
    prompter = tiny_prompter()
    v, text = inputs()
    t, w = text.t_word[:, :N_T], reference_weights(prompter)
    t_act, v_act, _ = prompter.first_order(t, v, w['pe_1'], prompter.visual_pe)
    e_v, e_t = ref.interaction(
        v,
        t,
        ref_layers.part(w, 'first_order'),
        n_blocks=2,
        n_heads=HEADS,
        text_pe=w['pe_1'],
        image_pe=w['image_pe'],
    )
    assert_same(
        dict(t=t_act, v=v_act),
        dict(t=e_t, v=e_v),
        leaves_of(prompter.first_order, v=v, t_word=text.t_word, pe=prompter.visual_pe),
    )


def check_eq6():
    """Sparse prompts as a stack of their own, with the last MLP."""
    prompter = tiny_prompter()
    v, text = inputs()
    t, w = text.t_word[:, :N_T], reference_weights(prompter)
    out = prompter.sparse(t, v, w['pe_2'], prompter.visual_pe)
    expected = ref.sparse_prompts(
        w['prompts'],
        t,
        v,
        ref_layers.part(w, 'sparse'),
        n_blocks=2,
        n_heads=HEADS,
        prompt_pe=w['prompt_pe'],
        text_pe=w['pe_2'],
        image_pe=w['image_pe'],
    )
    expected = ref_layers.mlp(expected, ref_layers.part(w, 'sparse_mlp'))
    assert_same(
        dict(out=out),
        dict(out=expected),
        leaves_of(prompter.sparse, v=v, t_word=text.t_word, pe=prompter.visual_pe),
    )


def check_eq7(activation='relu', align_corners=False, training=False):
    """The dense prompt; in training BatchNorm takes the batch's statistics."""
    prompter = tiny_prompter(dense=dict(activation=activation, align_corners=align_corners))
    v, text = inputs()
    w = {k: t.clone() if 'running' in k else t for k, t in reference_weights(prompter).items()}
    out = prompter.dense.train(training)(v, text.t_sent, GRID)
    expected = ref_dense.dense_prompt(
        v,
        text.t_sent,
        ref_layers.part(w, 'dense'),
        scale=w['scale'],
        bias=w['bias'],
        size=GRID,
        out_size=PROMPT,
        activation=activation,
        align_corners=align_corners,
        training=training,
    )
    assert_same(
        dict(out=out), dict(out=expected[:, 0]), leaves_of(prompter.dense, v=v, t_sent=text.t_sent)
    )


POSITIONS = {'query_key': 'queries_keys', 'attention': 'values_too', 'add': 'added_to_v'}


def check_eq3(n_blocks=(2, 2, 2, 2), **options):
    """The whole prompter; every symbol."""
    ours = dict(visual_position='query_key', kind=CascadedPrompter) | options
    decomposition = ours.get('decomposition', {})
    prompter = tiny_prompter(
        decomposition_blocks=n_blocks[0],
        interaction_blocks=n_blocks[1:3],
        prompt_blocks=n_blocks[3],
        **ours,
    )
    v, text = inputs()
    out = prompter(v, text)._asdict()
    assert out.pop('image_scores') is None  # not asked for
    lengths = LENGTHS if decomposition.get('mask_words', True) else None
    expected = ref.prompter(
        v,
        text.t_word,
        text.t_sent,
        reference_weights(prompter),
        n_t=N_T,
        n_heads=HEADS,
        n_blocks=n_blocks,
        size=GRID,
        out_size=PROMPT,
        lengths=lengths,
        position=POSITIONS[ours['visual_position']],
        order='interleaved' if ours['kind'] is InterleavedPrompter else 'separate',
    )
    expected['p_dense'] = expected['p_dense'][:, 0]
    assert_same(out, expected, leaves_of(prompter, v=v, t_word=text.t_word, t_sent=text.t_sent))


# --- the comparisons hold ------------------------------------------------------------------------


@pytest.mark.parametrize(
    'check',
    [check_attention, check_mlp_step, check_textpool, check_eq4, check_eq5, check_eq6, check_eq3],
)
def test_equation(check):
    check()


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('activation', ['relu', 'gelu'])
def test_eq7(activation, align_corners, training):
    check_eq7(activation, align_corners, training)


@pytest.mark.parametrize(
    'options',
    [
        dict(visual_position='add'),
        dict(visual_position='attention'),
        dict(kind=InterleavedPrompter),
        dict(decomposition=dict(mask_words=False)),
        dict(kind=InterleavedPrompter, visual_position='attention'),
        dict(kind=InterleavedPrompter, visual_position='add'),
        dict(n_blocks=(1, 3, 3, 1)),
        dict(n_blocks=(2, 1, 3, 2)),
        dict(n_blocks=(1, 2, 3, 3), kind=InterleavedPrompter),
    ],
    ids=str,
)
def test_eq3_variants(options):
    check_eq3(**options)


# --- and each notices a seeded fault -------------------------------------------------------------


def check_interleaved():
    check_eq3(kind=InterleavedPrompter)


def check_added_position():
    check_eq3(visual_position='add')


ATTENTION, STEP, MLP = layers.Attention, layers.AttentionStep, layers.MLPStep
NO_RESIDUAL, NO_NORM = faulty.step(residual=False), faulty.step(norm=False)
FAULTS = {  # what is wrong -> comparison, owner and name of what is replaced, replacement
    'attention: query and key swapped': (
        check_attention,
        ATTENTION,
        'forward',
        faulty.swapped_query_and_key,
    ),
    'attention: key mask lost': (
        check_attention,
        ATTENTION,
        'forward',
        faulty.without_key_mask(ATTENTION.forward),
    ),
    'mlp: residual lost': (check_mlp_step, MLP, 'forward', lambda self, x: self.norm(self.mlp(x))),
    'mlp: norm dropped': (check_mlp_step, MLP, 'forward', lambda self, x: x + self.mlp(x)),
    'textpool: over the padding': (
        check_textpool,
        semantic_decomposition,
        'text_pool',
        faulty.pool_with_padding,
    ),
    'eq4: residual lost': (check_eq4, STEP, 'forward', NO_RESIDUAL),
    'eq4: norm dropped': (check_eq4, STEP, 'forward', NO_NORM),
    'eq4: query and key swapped': (check_eq4, ATTENTION, 'forward', faulty.swapped_query_and_key),
    'eq4: 2 reads 1 first': (check_eq4, DecompositionBlock, 'forward', faulty.exchange(first=1)),
    'eq4: simultaneous exchange': (
        check_eq4,
        DecompositionBlock,
        'forward',
        faulty.exchange(simultaneous=True),
    ),
    'eq5: residual lost': (check_eq5, STEP, 'forward', NO_RESIDUAL),
    'eq5: norm dropped': (check_eq5, STEP, 'forward', NO_NORM),
    'eq5: position in the values': (
        check_eq5,
        STEP,
        'forward',
        faulty.step(position_in_values=True),
    ),
    'eq5: text not passed on': (
        check_eq5,
        InteractionBlock,
        'forward',
        faulty.text_not_passed_on(InteractionBlock.forward),
    ),
    'eq6: residual lost': (check_eq6, STEP, 'forward', NO_RESIDUAL),
    'eq6: norm dropped': (check_eq6, STEP, 'forward', NO_NORM),
    'eq6: lines in parallel': (check_eq6, SparsePromptBlock, 'forward', faulty.prompts_in_parallel),
    'eq7: normed before upsampling': (
        check_eq7,
        dense_prompt,
        'upsampled_cosine',
        faulty.norm_before_upsampling,
    ),
    'eq7: not normed': (check_eq7, dense_prompt, 'upsampled_cosine', faulty.without_norm),
    'eq7: the other align_corners': (
        check_eq7,
        dense_prompt,
        'upsampled_cosine',
        faulty.other_corners(dense_prompt.upsampled_cosine),
    ),
    'eq7: another activation': (check_eq7, dense_prompt, 'ACTIVATIONS', dict(relu=torch.nn.GELU)),
    'eq3: second order reads v': (check_eq3, CascadedPrompter, 'forward', faulty.single_order),
    'interleaved: one after the other': (
        check_interleaved,
        InterleavedPrompter,
        'forward',
        faulty.not_interleaved,
    ),
    'position added to v: lost on the way': (
        check_added_position,
        CascadedPrompter,
        'forward',
        faulty.without_position(CascadedPrompter.forward),
    ),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_fault_is_noticed(fault, monkeypatch):
    check, owner, name, replacement = FAULTS[fault]
    monkeypatch.setattr(prompter_cases, 'TOLERANCE', prompter_cases.FAULT_TOLERANCE)
    monkeypatch.setattr(owner, name, replacement)
    with pytest.raises(AssertionError, match='differs by'):
        check()
