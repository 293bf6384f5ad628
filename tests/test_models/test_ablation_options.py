"""The options of Tables IX-XIII and XV mean what their docstrings say: against the transcriptions
of Eqs. 4-7, and by what may and may not reach what."""

import math

import pytest
import torch
import torch.nn.functional as F

from rsrefseg2.errors import UserError
from rsrefseg2.models.losses import OrthogonalLoss, SampleContrastLoss, SpatialLoss
from rsrefseg2.models.prompter import SingleStagePrompter
from rsrefseg2.models.prompter.dense_prompt import DensePrompt, upsampled_cosine
from rsrefseg2.models.prompter.init import sine_positions
from rsrefseg2.models.symbols import EncodedImages, RefSegOutputs, Targets
from tests.reference import dense as dense_reference
from tests.reference import layers as ref_layers
from tests.reference import losses as loss_reference
from tests.reference import prompter as ref
from tests.test_models.prompter_cases import (
    D1,
    D2,
    GRID,
    HEADS,
    LENGTHS,
    N_P,
    N_T,
    PROMPT,
    inputs,
    reference_name,
    tiny_prompter,
)


def weights_of(prompter):
    return {reference_name(name): value.detach() for name, value in prompter.named_parameters()}


def same(a, b, tolerance=1e-10):
    return a.shape == b.shape and float((a - b).detach().abs().max()) < tolerance


# ---- Table X ----------------------------------------------------------------------------------


def test_without_the_cascade_the_image_reads_the_words_themselves():
    """Each sentence alone and unpadded, by Eq. 5 and Eq. 6 on its words in place of t2."""
    prompter = tiny_prompter(kind=SingleStagePrompter)
    v, text = inputs()
    found, w = prompter(v, text), weights_of(prompter)
    for row, n in enumerate(LENGTHS):
        one, words = v[row : row + 1], text.t_word[row : row + 1, :n]
        v_act, t_act = ref.interaction(
            one,
            words,
            ref_layers.part(w, 'single_stage'),
            n_blocks=2,
            n_heads=HEADS,
            text_pe=None,
            image_pe=w['image_pe'],
        )
        p = ref.sparse_prompts(
            w['prompts'],
            t_act,
            v_act,
            ref_layers.part(w, 'sparse'),
            n_blocks=2,
            n_heads=HEADS,
            prompt_pe=w['prompt_pe'],
            text_pe=None,
            image_pe=w['image_pe'],
        )
        assert same(found.v2_act[row : row + 1], v_act)
        assert same(found.t2_act[row : row + 1, :n], t_act)
        assert same(
            found.p_sparse[row : row + 1], ref_layers.mlp(p, ref_layers.part(w, 'sparse_mlp'))
        )
        assert same(
            found.p_dense[row : row + 1], prompter.dense(v_act, text.t_sent[row : row + 1], GRID)
        )
    assert found.t1 is found.t2 is found.t1_act is found.v1_act is None
    assert not [name for name in w if 'decomposition' in name or name.startswith('pe_')]


# ---- Tables IX, XI, XII -----------------------------------------------------------------------


def test_start_values_and_positions():
    v, text = inputs()
    start = {
        init: tiny_prompter(decomposition=dict(init=init)).decomposition
        for init in ('textpool', 'learnable', 'zero')
    }
    t1, t2 = start['learnable'].start(text.t_word, text.word_mask)
    assert same(t1, start['learnable'].queries[0].expand(3, N_T, D1)) and not same(t1, t2)
    t1, t2 = start['zero'].start(text.t_word, text.word_mask)
    assert t1.shape == (3, N_T, D1) and not t1.any() and not t2.any()
    pooled = ref.textpool(text.t_word, LENGTHS, N_T)
    assert all(same(t, pooled) for t in start['textpool'].start(text.t_word, text.word_mask))

    zero = tiny_prompter(
        decomposition=dict(pe='zero'), sparse=dict(init='zero', pe='zero'), visual_pe='zero'
    )
    names = {name for name, _ in zero.named_parameters()}
    assert not names & {'decomposition.pe', 'visual_pe', 'sparse.queries', 'sparse.pe'}
    w = weights_of(zero)
    t1, t2 = ref.decomposition(
        text.t_word,
        ref_layers.part(w, 'decomposition'),
        n_t=N_T,
        n_blocks=2,
        n_heads=HEADS,
        pe1=None,
        pe2=None,
        lengths=LENGTHS,
    )
    found = zero(v, text)
    assert same(found.t1, t1) and same(found.t2, t2)
    p = ref.sparse_prompts(
        torch.zeros(N_P, D2, dtype=v.dtype),
        found.t2_act,
        found.v2_act,
        ref_layers.part(w, 'sparse'),
        n_blocks=2,
        n_heads=HEADS,
        prompt_pe=None,
        text_pe=None,
        image_pe=None,
    )
    assert same(found.p_sparse, ref_layers.mlp(p, ref_layers.part(w, 'sparse_mlp')))
    for wrong in (
        dict(decomposition=dict(init='random')),
        dict(decomposition=dict(pe='sine')),
        dict(visual_pe='none'),
        dict(sparse=dict(init='textpool')),
    ):
        with pytest.raises(ValueError, match="'learnable' or 'zero'"):
            tiny_prompter(**wrong)


def test_sine_positions():
    h1, w1, width = 3, 5, 8
    found = sine_positions((h1, w1), width).reshape(h1, w1, width)
    for y in range(h1):
        for x in range(w1):
            wanted = [
                f(place * 10000 ** (-k / 2))
                for place in (y, x)
                for f in (math.sin, math.cos)
                for k in range(2)
            ]
            assert same(found[y, x], torch.tensor(wanted), 1e-6)
    assert sine_positions((2, 2), 7).shape == (4, 7)
    prompter = tiny_prompter(visual_pe='sine')
    assert not any('visual_pe' in name for name in prompter.state_dict())
    v, text = inputs()
    given = tiny_prompter(visual_pe='zero')
    given.load_state_dict(prompter.state_dict())
    given.visual_pe = torch.nn.Parameter(sine_positions(GRID, D1).double())
    assert same(prompter(v, text).v2_act, given(v, text).v2_act, 1e-6)  # a buffer of float32


def reaches(output, leaf):
    """Whether the leaf has any influence on the output."""
    (grad,) = torch.autograd.grad(output.square().sum(), leaf, retain_graph=True, allow_unused=True)
    return grad is not None and bool((grad.abs() > 1e-14).any())


@pytest.mark.parametrize('intra', [True, False])
@pytest.mark.parametrize('inter', [True, False])
def test_attention_within_and_between_the_subspaces(intra, inter):
    block = tiny_prompter(
        decomposition=dict(intra_attention=intra, inter_attention=inter)
    ).decomposition.blocks[0]
    _, text = inputs()
    t = [torch.randn(3, N_T, D1, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    out = block(*t, text.t_word, text.word_mask, torch.zeros(2, N_T, D1, dtype=torch.float64))
    for i in (0, 1):
        assert reaches(out[i], t[1 - i]) == inter
        assert reaches(out[i], text.t_word) and reaches(out[i], t[i])
        # the first vector, from the second of its own subspace: by self-attention, or in the
        # second subspace by way of the first, which has read it
        (grad,) = torch.autograd.grad(out[i][:, 0].square().sum(), t[i], retain_graph=True)
        assert bool((grad[:, 1].abs() > 1e-14).any()) == (intra or (inter and i == 1))


@pytest.mark.parametrize('text_attention', [True, False])
@pytest.mark.parametrize('image_attention', [True, False])
def test_attention_of_the_interaction(text_attention, image_attention):
    stack = tiny_prompter(
        interaction=dict(text_attention=text_attention, image_attention=image_attention)
    ).first_order
    v, text = inputs()
    t = text.t_word[:, :N_T].detach().requires_grad_()
    t_act, v_act, _ = stack(t, v, 0.0, 0.0)
    assert reaches(v_act, t) == image_attention
    (grad,) = torch.autograd.grad(t_act[:, 0].square().sum(), t, retain_graph=True)
    assert bool((grad[:, 1].abs() > 1e-14).any()) == text_attention
    if not image_attention:  # v passes LN and MLP only
        for block in stack.blocks:
            v = block.image_attn.norm(v)
            v = block.image_mlp.norm(v + block.image_mlp.mlp(v))
        assert same(v_act, v)


def test_no_patch_depends_on_another_one():
    """In Eq. 5 v attends to the text alone, and the text to itself."""
    prompter = tiny_prompter()
    v, text = inputs()
    v = v.detach().requires_grad_()
    (grad,) = torch.autograd.grad(prompter(v, text).v2_act[:, 0].square().sum(), v)
    assert (grad[:, 0].abs() > 1e-14).any() and not (grad[:, 1:].abs() > 1e-14).any()


def test_with_patch_attention_every_patch_reads_every_other_one():
    """LN(v + softmax((v + pe)(v + pe)^T) v) between image attention and MLP, literally."""
    stack = tiny_prompter(interaction=dict(patch_attention=True)).second_order
    v, text = inputs()
    t, pe = text.t_word[:, :N_T], torch.randn_like(v[0])
    _, found, _ = stack(t, v, 0.0, pe)
    for block in stack.blocks:
        t = block.text_attn(t, t)
        v = block.image_attn(v, t, x_pe=pe)
        step = block.patch_attn
        q, k, value = (
            proj(x).unflatten(-1, (step.attn.heads, -1))
            for proj, x in (
                (step.attn.q_proj, v + pe),
                (step.attn.k_proj, v + pe),
                (step.attn.v_proj, v),
            )
        )
        weight = (torch.einsum('bnhd,bmhd->bhnm', q, k) / q.shape[-1] ** 0.5).softmax(-1)
        read = torch.einsum('bhnm,bmhd->bnhd', weight, value).flatten(2)
        v = block.image_mlp(step.norm(v + step.attn.out_proj(read)))
    assert same(found, v)


# ---- Table XIII -------------------------------------------------------------------------------


def test_t_sparse_is_one_more_prompt_projected_to_d1():
    prompter = tiny_prompter(dense=dict(text='t_sparse'))
    v, text = inputs()
    found = prompter(v, text)
    assert found.p_sparse.shape == (3, N_P, D2) and prompter.sparse.queries.shape == (N_P + 1, D2)
    pe = prompter.decomposition.pe
    tokens = prompter.sparse(found.t2_act, found.v2_act, pe[1], prompter.visual_pe)
    assert same(found.p_sparse, tokens[:, :N_P])
    proj = prompter.dense.text_proj
    wanted = tokens[:, N_P] @ proj.weight.T + proj.bias
    grid = found.v2_act.transpose(1, 2).unflatten(2, GRID)
    cosine = upsampled_cosine(prompter.dense.conv(grid), wanted, PROMPT)
    assert same(
        found.p_dense, prompter.dense.logit_scale.exp() * cosine + prompter.dense.logit_bias
    )
    assert not reaches(found.p_dense, text.t_sent)
    with pytest.raises(ValueError, match="'t_sparse' with d2"):
        DensePrompt(d1=4, size=(8, 8), logit_scale=0, logit_bias=0, text='t_sparse')


@pytest.mark.parametrize('text', ['t_sent', 't2', 't2_act'])
@pytest.mark.parametrize('visual', ['v', 'v2_act'])
def test_what_the_dense_prompt_compares(text, visual):
    """Table XIII, T-t2, T-t2', V-v: Eq. 7 literally, of the text's mean over n_t and the map."""
    prompter = tiny_prompter(dense=dict(text=text, visual=visual))
    v, encoded = inputs()
    found = prompter(v, encoded)
    means = {
        't_sent': encoded.t_sent,
        't2': sum(found.t2[:, k] for k in range(N_T)) / N_T,
        't2_act': sum(found.t2_act[:, k] for k in range(N_T)) / N_T,
    }
    conv = {name.removeprefix('conv.'): x for name, x in prompter.dense.state_dict().items()}
    wanted = dense_reference.dense_prompt(
        {'v': v, 'v2_act': found.v2_act}[visual],
        means[text],
        conv,
        scale=prompter.dense.logit_scale,
        bias=prompter.dense.logit_bias,
        size=GRID,
        out_size=PROMPT,
    )[:, 0]
    assert same(found.p_dense, wanted, 1e-6)


def test_an_mlp_on_the_text_of_the_dense_prompt():
    """Table XIII, T-soft."""
    prompter = tiny_prompter(dense=dict(text_mlp=True))
    v, encoded = inputs()
    found = prompter(v, encoded)
    w = prompter.dense.state_dict()
    hidden = encoded.t_sent @ w['text_mlp.0.weight'].T + w['text_mlp.0.bias']
    text = hidden.clamp(min=0) @ w['text_mlp.2.weight'].T + w['text_mlp.2.bias']
    cosine = upsampled_cosine(
        prompter.dense.conv(found.v2_act.transpose(1, 2).unflatten(2, GRID)), text, PROMPT
    )
    assert same(
        found.p_dense, prompter.dense.logit_scale.exp() * cosine + prompter.dense.logit_bias
    )


@pytest.mark.parametrize('align_corners', [True, False])
def test_upsampling_after_the_dot_product(align_corners):
    """Table XIII, post-up: the cosine of each patch, then bilinear."""
    prompter = tiny_prompter(dense=dict(upsample='post', align_corners=align_corners))
    v, encoded = inputs()
    found = prompter(v, encoded)
    features = prompter.dense.conv(found.v2_act.transpose(1, 2).unflatten(2, GRID))
    at_patches = torch.einsum(
        'bchw,bc->bhw', dense_reference.unit(features, 1), dense_reference.unit(encoded.t_sent, 1)
    )[:, None]
    cosine = dense_reference.bilinear(at_patches, PROMPT, align_corners)[:, 0]
    assert same(
        found.p_dense, prompter.dense.logit_scale.exp() * cosine + prompter.dense.logit_bias, 1e-6
    )
    before = tiny_prompter(dense=dict(align_corners=align_corners))
    before.load_state_dict(prompter.state_dict())
    assert not same(found.p_dense, before(v, encoded).p_dense, 1e-4)


def test_a_text_that_is_not_made():
    with pytest.raises(UserError, match='SingleStagePrompter makes no t2'):
        tiny_prompter(kind=SingleStagePrompter, dense=dict(text='t2'))
    with pytest.raises(ValueError, match="upsample 'pre' or 'post'"):
        DensePrompt(d1=4, size=(8, 8), logit_scale=0, logit_bias=0, upsample='no')


@pytest.mark.parametrize(('conv', 'reach'), [('3x3', 2), ('1x1', 0), (None, 0)])
def test_the_convolutions_of_the_dense_prompt(conv, reach):
    """How far a patch of v reaches, two convolutions deep."""
    dense = (
        DensePrompt(
            d1=8, size=(28, 28), logit_scale=0.0, logit_bias=0.0, conv=conv, activation='gelu'
        )
        .double()
        .eval()
    )
    v = torch.randn(1, 49, 8, dtype=torch.float64, requires_grad=True)
    grid = dense.conv(v.transpose(1, 2).unflatten(2, (7, 7)))
    (grad,) = torch.autograd.grad(grid[0, :, 3, 3].square().sum(), v)
    touched = (grad.reshape(7, 7, 8).abs().sum(2) > 0).nonzero()
    assert (touched - 3).abs().max().item() == reach
    assert bool(list(dense.conv.parameters())) == (conv is not None)
    with pytest.raises(ValueError, match="'5x5'"):
        DensePrompt(d1=4, size=(8, 8), logit_scale=0, logit_bias=0, conv='5x5')


# ---- Table XV ---------------------------------------------------------------------------------


def outputs_of(prompter):
    v, text = inputs()
    index = torch.tensor([0, 1, 2])
    return RefSegOutputs(
        EncodedImages(v, None, []), index, text, prompter(v, text), None, (24, 32), GRID
    )


def targets():
    masks = [torch.zeros(24, 32, dtype=torch.bool) for _ in range(3)]
    for i, mask in enumerate(masks):
        mask[2 * i : 8 + 4 * i, 3 * i : 20 + 2 * i] = True
    return Targets(masks, torch.arange(3))


@pytest.mark.parametrize('text', ['t_sent', 't1', 't2'])
@pytest.mark.parametrize('visual', ['v', 'v1_act', 'v2_act'])
def test_what_the_sample_loss_compares(text, visual):
    outputs = outputs_of(tiny_prompter())
    loss = SampleContrastLoss(text=text, visual=visual)(outputs, targets())['loss_sample']
    v = outputs.images.v if visual == 'v' else getattr(outputs.prompts, visual)
    t = outputs.text.t_sent if text == 't_sent' else getattr(outputs.prompts, text).mean(1)
    area = F.interpolate(torch.stack(targets().masks)[:, None].double(), GRID, mode='area')
    area = area.flatten(1)
    pooled = torch.stack([(area[b, :, None] * v[b]).sum(0) / area[b].sum() for b in range(3)])
    logits = F.normalize(pooled, dim=1) @ F.normalize(t, dim=1).T / 0.07
    wanted = (
        F.cross_entropy(logits, torch.arange(3)) + F.cross_entropy(logits.T, torch.arange(3))
    ) / 2
    assert float(loss) == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize('kind', ['ce', 'mil'])
@pytest.mark.parametrize('text', ['t_sent', 't2'])
@pytest.mark.parametrize('visual', ['v', 'v2_act'])
def test_what_the_spatial_loss_compares(kind, text, visual):
    outputs = outputs_of(tiny_prompter())
    loss = SpatialLoss(kind=kind, text=text, visual=visual)(outputs, targets())['loss_spatial']
    v = outputs.images.v if visual == 'v' else outputs.prompts.v2_act
    t = outputs.text.t_sent[:, None] if text == 't_sent' else outputs.prompts.t2
    masks = torch.stack(targets().masks).double()
    area = loss_reference.area_average(masks, GRID)
    if kind == 'ce':
        wanted = loss_reference.spatial_ce(v, t, area, scale=1 / 0.07, bias=math.log(0.5))
    else:
        wanted = loss_reference.spatial_mil(v, t, area, scale=1 / 0.07)
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)


@pytest.mark.parametrize('options', [dict(text='t3'), dict(visual='v2'), dict(variant='ours')])
def test_another_choice_is_refused(options):
    with pytest.raises(ValueError, match='is one of'):
        SampleContrastLoss(**options)


def test_losses_that_need_the_cascade_say_so():
    outputs = outputs_of(tiny_prompter(kind=SingleStagePrompter))
    for loss, says in (
        (OrthogonalLoss(), 'losses.ortho to None'),
        (SampleContrastLoss(), 'needs t2'),
        (SampleContrastLoss(text='t_sent', visual='v1_act'), 'needs v1_act'),
        (SpatialLoss(kind='ce'), 'losses.spatial to None'),
    ):
        with pytest.raises(ValueError, match=says):
            loss(outputs, targets())
    assert torch.isfinite(
        SampleContrastLoss(text='t_sent', visual='v2_act')(outputs, targets())['loss_sample']
    )
