"""Where the method's public release keeps each of our weights: names and shapes, nothing else.

Ours -> the release's, by rule, so that every weight of ours has its place and whatever else a file
of the release holds must be named in UNUSED. The towers of the release are wrapped by PEFT
(`base_model.model`); its SAM 2 has its own names, ours has transformers'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# Steps of the prompter: ours -> the release's module and the norm that follows it.
_DECOMPOSITION = {
    f'{ours}.{i}': (module.format(n=i + 1, m=2 - i), f'norm_query{i + 1}_{norm}')
    for i in (0, 1)
    for norm, (ours, module) in enumerate(
        (
            ('self_attn', 'self_attn_query_query{n}'),
            ('word_attn', 'cross_attn_query_text_query{n}_text'),
            ('word_mlp', 'mlp_query{n}_2'),
            ('exchange_attn', 'cross_attn_query_query_query{n}_query{m}'),
            ('exchange_mlp', 'mlp_query{n}_3'),
        ),
        start=1,
    )
}
_IMAGE = {
    'image_attn': ('cross_attn_img_text_1', 'norm_img_1'),
    'image_mlp': ('mlp_img_1', 'norm_img_2'),
}
_STACKS = {  # ours -> the release's, and its steps
    'decomposition': ('two_queries_text_attn_layers', _DECOMPOSITION),
    'first_order': (
        'queries1_to_img_attn_layers',
        {'text_attn': ('self_attn_text_text_1', 'norm_text_1'), **_IMAGE},
    ),
    'second_order': (
        'prompt_queries2_img_attn_layers',
        {'text_attn': ('self_attn_text_1', 'norm_text_1'), **_IMAGE},
    ),
    'sparse': (
        'prompt_queries2_img_attn_layers',
        {
            'self_attn': ('self_attn_prompt_1', 'norm_prompt_1'),
            'text_attn': ('cross_attn_prompt_text_1', 'norm_prompt_2'),
            'text_mlp': ('mlp_prompt_2', 'norm_prompt_3'),
            'image_attn': ('cross_attn_prompt_img_1', 'norm_prompt_4'),
            'image_mlp': ('mlp_prompt_3', 'norm_prompt_5'),
        },
    ),
}
_STEP = re.compile(r'prompter\.(\w+)\.blocks\.(\d+)\.(\w+(?:\.\d)?)\.(attn|mlp|norm)\.(.+)')
_LAYER = {'0': 'layers.0', '2': 'layers.1'}  # of an MLP

_SIGLIP = 'base_model.model.model.'
_SAM, _IMAGE_ENCODER = 'backbone.model.', 'backbone.model.image_encoder.base_model.model.'
_DECODER, _PROMPTS = _SAM + 'sam_mask_decoder.', _SAM + 'sam_prompt_encoder.'


def _by_table(prefix: str, table: dict[str, str]) -> Callable[[re.Match], str]:
    """A replacement: the last group through a table, the groups before it as they are."""
    return lambda m: prefix.format(*m.groups()[:-1]) + table[m.groups()[-1]]


# Beginnings of our names -> the release's; the first that matches.
_RULES: tuple[tuple[str, str | Callable[[re.Match], str]], ...] = (
    (r'encoder\.vision_model\.', 'clip_vision_encoder.' + _SIGLIP),
    (r'encoder\.text_model\.', 'clip_text_encoder.' + _SIGLIP),
    (r'prompter\.dense\.(logit_scale|logit_bias)$', r'clip_text_encoder.base_model.model.\1'),
    (r'prompter\.dense\.conv\.', 'prompter.dense_prompt_conv.'),
    (r'prompter\.sparse\.queries$', 'prompter.prompt_embedding'),
    (r'prompter\.sparse\.pe$', 'prompter.prompt_pe_embedding'),
    (r'prompter\.sparse\.head\.([02])', _by_table('prompter.sparse_prompt_mlp.', _LAYER)),
    (r'losses\.sample\.logit_scale$', 'decode_head.logit_scale2'),
    (r'mask_generator\.sam\.no_memory_embedding$', _SAM + 'no_mem_embed'),
    (
        r'mask_generator\.sam\.vision_encoder\.backbone\.patch_embed\.projection\.',
        _IMAGE_ENCODER + 'trunk.patch_embed.proj.',
    ),
    (
        r'mask_generator\.sam\.vision_encoder\.backbone\.(blocks\.\d+)\.layer_norm([12])\.',
        _IMAGE_ENCODER + r'trunk.\1.norm\2.',
    ),
    (
        r'mask_generator\.sam\.vision_encoder\.backbone\.(blocks\.\d+)\.mlp\.(proj_in|proj_out)\.',
        _by_table(
            _IMAGE_ENCODER + 'trunk.{}.mlp.', {'proj_in': 'layers.0.', 'proj_out': 'layers.1.'}
        ),
    ),
    (r'mask_generator\.sam\.vision_encoder\.backbone\.', _IMAGE_ENCODER + 'trunk.'),
    (
        r'mask_generator\.sam\.vision_encoder\.neck\.convs\.(\d+)\.',
        _IMAGE_ENCODER + r'neck.convs.\1.conv.',
    ),
    (
        r'mask_generator\.sam\.prompt_encoder\.mask_embed\.(\w+)\.',
        _by_table(
            _PROMPTS + 'mask_downscaling.',
            {'conv1': '0.', 'layer_norm1': '1.', 'conv2': '3.', 'layer_norm2': '4.', 'conv3': '6.'},
        ),
    ),
    (r'mask_generator\.sam\.prompt_encoder\.', _PROMPTS),
    (
        r'mask_generator\.sam\.mask_decoder\.(upscale_\w+)\.',
        _by_table(
            _DECODER + 'output_upscaling.',
            {'upscale_conv1': '0.', 'upscale_layer_norm': '1.', 'upscale_conv2': '3.'},
        ),
    ),
    (
        r'mask_generator\.sam\.mask_decoder\.'
        r'(output_hypernetworks_mlps\.\d|iou_prediction_head|pred_obj_score_head)\.'
        r'(proj_in|layers\.0|proj_out)\.',
        _by_table(
            _DECODER + '{}.',
            {'proj_in': 'layers.0.', 'layers.0': 'layers.1.', 'proj_out': 'layers.2.'},
        ),
    ),
    (r'mask_generator\.sam\.mask_decoder\.', _DECODER),
)
# Inside the decoder's transformer.
_TRANSFORMER = (
    ('.o_proj.', '.out_proj.'),
    ('.layer_norm_final_attn.', '.norm_final_attn.'),
    ('.mlp.proj_in.', '.mlp.layers.0.'),
    ('.mlp.proj_out.', '.mlp.layers.1.'),
    ('.layer_norm', '.norm'),
)

# What a file of the release holds and our model has no use for, and why.
_WEIGHT = r'((base_layer\.)?(weight|bias)|lora_[AB]\.default\.weight)'
UNUSED: tuple[tuple[str, str], ...] = (
    (
        r'clip_vision_encoder\.base_model\.model\.model\.head\.(probe|layernorm\.(weight|bias)'
        rf'|attention\.in_proj_(weight|bias)|(attention\.out_proj|mlp\.fc[12])\.{_WEIGHT})',
        "the image tower's pooling head: Sec. III-B drops it, and nothing reads its output",
    ),
    (r'decode_head\.logit_(scale|bias)1', 'scale and bias of a loss that its recipe leaves off'),
    (r'decode_head\.logit_bias2', "the sample loss's bias: a softmax does not see it"),
    (
        r'clip_(text|vision)_encoder\.base_model\.model\.model\.embeddings\.position_ids',
        'the numbers of the positions, a constant',
    ),
)


class Place(NamedTuple):
    """The release's tensors that make one of ours."""

    names: tuple[str, ...]
    join: Callable[[Sequence[Tensor]], Tensor]  # theirs -> ours
    split: Callable[[Tensor], Sequence[Tensor]]  # ours -> theirs


def place_of(key: str, grid_size: tuple[int, int]) -> Place | None:
    """Where the release keeps our `key`; None: it has no such weight.

    Args:
        grid_size: (h1, w1), the shape of the position embedding of the patches there.
    """
    if key == 'prompter.decomposition.pe':  # (2, n_t, d1)
        return Place(
            ('prompter.text_query_pe_embedding1', 'prompter.text_query_pe_embedding2'),
            torch.stack,
            torch.unbind,
        )
    if key == 'prompter.visual_pe':  # (h1*w1, d1) and (1, d1, h1, w1)
        return Place(
            ('prompter.img_pe',),
            lambda parts: parts[0][0].flatten(1).T,
            lambda pe: [pe.T.unflatten(1, grid_size)[None]],
        )
    if key == 'mask_generator.sam.prompt_encoder.point_embed.weight':  # (4, d2)
        return Place(
            tuple(f'{_PROMPTS}point_embeddings.{i}.weight' for i in range(4)),
            torch.cat,
            lambda table: table.split(1),
        )
    if key in (
        'mask_generator.sam.shared_image_embedding.positional_embedding',
        'mask_generator.sam.prompt_encoder.shared_embedding.positional_embedding',
    ):
        return _one(_PROMPTS + 'pe_layer.positional_encoding_gaussian_matrix')
    name = _rename(key)
    if name == 'decode_head.logit_scale2':  # (1,) and ()
        return Place((name,), lambda parts: parts[0][None], lambda scale: [scale[0]])
    return None if name is None else _one(name)


def _one(name: str) -> Place:
    return Place((name,), lambda parts: parts[0], lambda value: [value])


def _rename(key: str) -> str | None:
    step = _STEP.fullmatch(key)
    if step is not None and step[1] in _STACKS and step[3] in _STACKS[step[1]][1]:
        stack, steps = _STACKS[step[1]]
        module, norm = steps[step[3]]
        if step[4] == 'mlp':
            layer, _, rest = step[5].partition('.')
            return f'prompter.{stack}.{step[2]}.{module}.{_LAYER[layer]}.{rest}'
        return f'prompter.{stack}.{step[2]}.{norm if step[4] == "norm" else module}.{step[5]}'
    for pattern, new in _RULES:
        name, hit = re.subn('^' + pattern, new, key)
        if hit:
            if name.startswith(_DECODER + 'transformer.'):
                for ours, theirs in _TRANSFORMER:
                    name = name.replace(ours, theirs)
            return name
    return None


def why_unused(name: str) -> str | None:
    """Why our model has no use for a weight of the release; None: there is no known reason."""
    return next((why for pattern, why in UNUSED if re.fullmatch(pattern, name)), None)


class Placing(NamedTuple):
    """A model's weights and the release's, matched by name and shape."""

    places: dict[str, Place]  # by our key
    shapes: dict[str, tuple[int, ...]]  # of the release's tensors
    homeless: list[str]  # our keys that the release has no place for


def place_model(state: dict[str, Tensor], grid_size: tuple[int, int]) -> Placing:
    """The places of a model's state dict; its tensors may be without data (device 'meta')."""
    places: dict[str, Place] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    homeless: list[str] = []
    for key, value in state.items():
        place = place_of(key, grid_size)
        if place is None:
            homeless.append(key)
            continue
        places[key] = place
        shapes |= {
            name: tuple(part.shape)
            for name, part in zip(place.names, place.split(value), strict=True)
        }
    return Placing(places, shapes, homeless)


def to_ours(official: dict[str, Tensor], placing: Placing) -> dict[str, Tensor]:
    """The release's tensors -> ours, bit for bit, in their own precision."""
    return {
        key: place.join([official[name] for name in place.names]).contiguous()
        for key, place in placing.places.items()
    }


def to_official(state: dict[str, Tensor], placing: Placing) -> dict[str, Tensor]:
    """Ours -> the release's, the reverse of `to_ours`.

    Raises:
        ValueError: two of our weights share a place there, and differ.
    """
    official: dict[str, Tensor] = {}
    for key, name, value in _parts(state, placing):
        if name in official and not torch.equal(official[name], value):
            raise ValueError(
                f'{key} is not the same as the other weight that the release keeps in {name}'
            )
        official[name] = value.contiguous()
    return official


def _parts(state: dict[str, Tensor], placing: Placing) -> Iterator[tuple[str, str, Tensor]]:
    for key, place in placing.places.items():
        for name, value in zip(place.names, place.split(state[key]), strict=True):
            yield key, name, value
