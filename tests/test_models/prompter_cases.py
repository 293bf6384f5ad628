"""What the tests of Eqs. 3-7 share: a tiny prompter, its weights by the reference's names, inputs,
and the comparison of outputs and gradients."""

import torch

from rsrefseg2.models.prompter import CascadedPrompter, SingleStagePrompter
from rsrefseg2.models.prompter.base_prompter import BasePrompter
from rsrefseg2.models.symbols import EncodedText, TowerSpec

D1, D2, N_T, N_P, HEADS, INNER, HIDDEN = 16, 8, 3, 4, 2, 12, 20
GRID, PROMPT = (3, 4), (12, 16)
LENGTHS = (7, 2, 4)  # bins of 3 words that overlap; fewer words than n_t; unequal bins
TOWERS = TowerSpec(
    d1=D1, d2=D2, grid_size=GRID, prompt_size=PROMPT, logit_scale=0.7, logit_bias=-0.4
)
TOLERANCE, FAULT_TOLERANCE = 1e-9, 1e-4

_INTERACTION = {'text_attn': 'text_self', 'image_attn': 'image_text', 'image_mlp': 'mlp_image'}
STEPS = {
    'decomposition': {
        f'{ours}.{i}': f'{theirs}_{i + 1}'
        for i in (0, 1)
        for ours, theirs in (
            ('self_attn', 'self'),
            ('word_attn', 'word'),
            ('word_mlp', 'mlp_word'),
            ('exchange_attn', 'exchange'),
            ('exchange_mlp', 'mlp_exchange'),
        )
    },
    'first_order': _INTERACTION,
    'second_order': _INTERACTION,
    'single_stage': _INTERACTION,  # Table X without the cascade
    'sparse': {
        'self_attn': 'prompt_self',
        'text_attn': 'prompt_text',
        'text_mlp': 'mlp_text',
        'image_attn': 'prompt_image',
        'image_mlp': 'mlp_image',
    },
}
LONE = {
    'visual_pe': 'image_pe',
    'sparse.queries': 'prompts',
    'sparse.pe': 'prompt_pe',
    'dense.logit_scale': 'scale',
    'dense.logit_bias': 'bias',
}


def reference_name(name: str) -> str:
    """The package's name of a prompter weight -> the reference's (tests/reference/prompter.py)."""
    if name in LONE:
        return LONE[name]
    name = name.replace('dense.conv.', 'dense.')
    name = name.replace('sparse.head.0', 'sparse_mlp.layers.0')
    name = name.replace('sparse.head.2', 'sparse_mlp.layers.1')
    if '.blocks.' not in name:
        return name
    part, rest = name.split('.blocks.')
    block, rest = rest.split('.', 1)
    step = next(s for s in STEPS[part] if rest.startswith(s + '.'))
    rest = rest[len(step) + 1 :]
    own = STEPS[part][step]
    for ours, theirs in (
        ('attn.', f'{own}.'),
        ('norm.', f'norm_{own}.'),
        ('mlp.0.', f'{own}.layers.0.'),
        ('mlp.2.', f'{own}.layers.1.'),
    ):
        if rest.startswith(ours):
            return f'{part}.{block}.{theirs}{rest[len(ours) :]}'
    raise KeyError(name)


def reference_weights(prompter: CascadedPrompter) -> dict:
    """The prompter's own tensors (parameters keep their gradient) by the reference's names."""
    tensors = dict(prompter.named_parameters()) | dict(prompter.named_buffers())
    weights = {reference_name(k): v for k, v in tensors.items() if k != 'decomposition.pe'}
    weights['pe_1'], weights['pe_2'] = prompter.decomposition.pe
    return weights


def load_reference(prompter: CascadedPrompter, weights: dict) -> None:
    """Fill the prompter from a dict with the reference's names; every name must be used once."""
    left = dict(weights)
    state = {}
    for name, own in prompter.state_dict().items():
        if name == 'decomposition.pe':
            state[name] = torch.stack([left.pop('pe_1'), left.pop('pe_2')])
        else:
            value = left.pop(reference_name(name))
            state[name] = value.reshape(own.shape) if value.numel() == 1 else value
    assert not left, f'no place for {sorted(left)}'
    prompter.load_state_dict(state)


def tiny_prompter(
    seed: int = 0, kind: type[BasePrompter] = CascadedPrompter, **options
) -> BasePrompter:
    """A float64 prompter in eval mode; every weight random, so that none can hide."""
    own = {} if kind is SingleStagePrompter else dict(n_t=N_T)
    options = dict(inner=INNER, heads=HEADS, mlp_hidden=HIDDEN, dense={}) | own | options
    prompter = kind(towers=TOWERS, n_p=N_P, **options).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in prompter.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
        for name, b in prompter.named_buffers():
            if name.endswith(('running_mean', 'running_var')):
                b.add_(torch.rand(b.shape, generator=generator, dtype=b.dtype))
    return prompter


def inputs(seed: int = 1) -> tuple[torch.Tensor, EncodedText]:
    """v (B, h1*w1, d1) and a batch of sentences of different lengths; padding is not zero."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        return x.requires_grad_()

    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    batch = len(LENGTHS)
    return random(batch, GRID[0] * GRID[1], D1), EncodedText(
        random(batch, max(LENGTHS), D1), mask, random(batch, D1)
    )


def gradients(outputs: dict, leaves: dict) -> dict:
    """Of a fixed random weighting of all outputs, with respect to every leaf (0 where unused)."""
    generator = torch.Generator().manual_seed(2)
    total = sum(
        (out * torch.randn(out.shape, generator=generator, dtype=out.dtype)).sum()
        for _, out in sorted(outputs.items())
    )
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if g is None else g
        for (name, leaf), g in zip(leaves.items(), found, strict=True)
    }


def assert_same(ours: dict, theirs: dict, leaves: dict, tolerance: float | None = None) -> None:
    """Outputs and gradients agree to `tolerance` times the largest reference value (at least 1).

    Default: TOLERANCE. Tests of seeded faults raise it to FAULT_TOLERANCE, so that no rounding
    can pass for a noticed fault.
    """
    tolerance = TOLERANCE if tolerance is None else tolerance
    assert ours.keys() == theirs.keys()
    for kind, a, b in (
        ('output', ours, theirs),
        ('gradient of', gradients(ours, leaves), gradients(theirs, leaves)),
    ):
        for name in a:
            assert a[name].shape == b[name].shape, (kind, name, a[name].shape, b[name].shape)
            assert torch.isfinite(a[name]).all(), f'{kind} {name} is not finite'
            scale = max(1.0, b[name].abs().max().item())
            difference = (a[name] - b[name]).abs().max().item() / scale
            assert difference < tolerance, f'{kind} {name} differs by {difference:.1e}'
