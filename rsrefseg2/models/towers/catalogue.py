"""Architectures of the towers by hub name, so that a config builds without a network.

Every entry is the part of the checkpoint's config.json in which it differs from transformers'
defaults (a SigLIP-base, a CLIP-B/32, a SAM2.1-tiny, a SAM-base). The paper's Table XVI compares
CLIP, SigLIP and SigLIP2 checkpoints and the four SAM2.1.
"""

from __future__ import annotations

import copy
from typing import Any

# One transformer (either modality): the sizes that a name like `so400m` stands for.
_WIDTHS = {
    'base': dict(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    ),
    'large': dict(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16
    ),
    'so400m': dict(
        hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16
    ),
    'giant-opt': dict(
        hidden_size=1536, intermediate_size=6144, num_hidden_layers=40, num_attention_heads=16
    ),
}


def _siglip(
    size: str, patch: int, image: int, *, vocab: int = 32000, positions: int = 64, pad: int = 1
) -> dict:
    """SigLIP 1: a sentencepiece vocabulary in which padding is eos (id 1)."""
    # The giant's text tower is so400m's; its head maps 1152 to the image tower's 1536.
    text = dict(_WIDTHS['so400m' if size == 'giant-opt' else size])
    return dict(
        model_type='siglip',
        text_config=dict(
            text,
            vocab_size=vocab,
            max_position_embeddings=positions,
            projection_size=_WIDTHS[size]['hidden_size'],
            pad_token_id=pad,
            eos_token_id=1,
            bos_token_id=2,
        ),
        vision_config=dict(_WIDTHS[size], patch_size=patch, image_size=image),
    )


def _siglip2(size: str, patch: int, image: int) -> dict:
    """SigLIP 2 at a fixed resolution: SigLIP's architecture with Gemma's vocabulary (pad 0)."""
    return _siglip(size, patch, image, vocab=256000, pad=0)


def _naflex(size: str) -> dict:
    """SigLIP 2 at a native aspect and flexible resolution; 16 x 16 patches in pretraining."""
    config = _siglip2(size, 16, 256)
    del config['vision_config']['image_size']
    config['vision_config']['num_patches'] = 256
    return dict(config, model_type='siglip2')


def _clip(vision: str, patch: int, image: int, *, text: dict, projection: int) -> dict:
    """OpenAI's CLIP: two towers of their own widths and a space of width `projection`."""
    return dict(
        model_type='clip',
        projection_dim=projection,
        text_config=dict(text, projection_dim=projection),
        vision_config=dict(
            _WIDTHS[vision], patch_size=patch, image_size=image, projection_dim=projection
        ),
    )


_CLIP_B: dict[str, Any] = dict(
    text=dict(hidden_size=512, intermediate_size=2048, num_attention_heads=8), projection=512
)
_CLIP_L: dict[str, Any] = dict(
    text=dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12), projection=768
)


def _sam2(
    width: int,
    heads: int,
    blocks: list[int],
    global_blocks: list[int],
    windows: list[int],
    background: int,
) -> dict:
    """SAM2.1's image model: Hiera of four stages; width and heads double from stage to stage."""
    widths = [width * 2**stage for stage in range(4)]
    return dict(
        model_type='sam2',
        vision_config=dict(
            backbone_channel_list=widths[::-1],
            backbone_config=dict(
                hidden_size=width,
                num_attention_heads=heads,
                blocks_per_stage=blocks,
                embed_dim_per_stage=widths,
                num_attention_heads_per_stage=[heads * 2**stage for stage in range(4)],
                window_size_per_stage=windows,
                global_attention_blocks=global_blocks,
                window_positional_embedding_background_size=[background, background],
            ),
        ),
    )


def _sam(width: int, layers: int, heads: int, global_layers: list[int]) -> dict:
    """SAM 1: a plain ViT whose attention is windowed but for four global layers."""
    return dict(
        model_type='sam',
        vision_config=dict(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            global_attn_indexes=global_layers,
            initializer_range=0.02,
        ),
    )  # transformers' 1e-10 would draw zeros


def _swin(width: int, third: int, heads: int, window: int, image: int) -> dict:
    """Swin of four stages, of which the third is deep; width and heads double from stage to stage."""
    return dict(
        model_type='swin',
        image_size=image,
        embed_dim=width,
        depths=[2, 2, third, 2],
        num_heads=[heads * 2**stage for stage in range(4)],
        window_size=window,
    )


SIGLIP = {
    'google/siglip-base-patch16-224': _siglip('base', 16, 224),
    'google/siglip-base-patch16-256': _siglip('base', 16, 256),
    'google/siglip-base-patch16-256-multilingual': _siglip('base', 16, 256, vocab=250000),
    'google/siglip-base-patch16-384': _siglip('base', 16, 384),
    'google/siglip-base-patch16-512': _siglip('base', 16, 512),
    'google/siglip-large-patch16-256': _siglip('large', 16, 256),
    'google/siglip-large-patch16-384': _siglip('large', 16, 384),
    'google/siglip-so400m-patch14-224': _siglip('so400m', 14, 224, positions=16),
    'google/siglip-so400m-patch14-384': _siglip('so400m', 14, 384),
    'google/siglip-so400m-patch16-256-i18n': _siglip('so400m', 16, 256, vocab=250000),
    'google/siglip2-base-patch32-256': _siglip2('base', 32, 256),
    'google/siglip2-base-patch16-224': _siglip2('base', 16, 224),
    'google/siglip2-base-patch16-256': _siglip2('base', 16, 256),
    'google/siglip2-base-patch16-384': _siglip2('base', 16, 384),
    'google/siglip2-base-patch16-512': _siglip2('base', 16, 512),
    'google/siglip2-large-patch16-256': _siglip2('large', 16, 256),
    'google/siglip2-large-patch16-384': _siglip2('large', 16, 384),
    'google/siglip2-large-patch16-512': _siglip2('large', 16, 512),
    'google/siglip2-so400m-patch14-224': _siglip2('so400m', 14, 224),
    'google/siglip2-so400m-patch14-384': _siglip2('so400m', 14, 384),
    'google/siglip2-so400m-patch16-256': _siglip2('so400m', 16, 256),
    'google/siglip2-so400m-patch16-384': _siglip2('so400m', 16, 384),
    'google/siglip2-so400m-patch16-512': _siglip2('so400m', 16, 512),
    'google/siglip2-giant-opt-patch16-256': _siglip2('giant-opt', 16, 256),
    'google/siglip2-giant-opt-patch16-384': _siglip2('giant-opt', 16, 384),
    'google/siglip2-base-patch16-naflex': _naflex('base'),
    'google/siglip2-so400m-patch16-naflex': _naflex('so400m'),
    'openai/clip-vit-base-patch32': _clip('base', 32, 224, **_CLIP_B),
    'openai/clip-vit-base-patch16': _clip('base', 16, 224, **_CLIP_B),
    'openai/clip-vit-large-patch14': _clip('large', 14, 224, **_CLIP_L),
    'openai/clip-vit-large-patch14-336': _clip('large', 14, 336, **_CLIP_L),
    'flax-community/clip-rsicd-v2': _clip('base', 32, 224, **_CLIP_B),  # remote sensing: RSICD
    'lcybuaa/Git-RSCLIP': _siglip('large', 16, 256),  # remote sensing: Git-10M
}

SAM = {
    'facebook/sam2.1-hiera-tiny': _sam2(96, 1, [1, 2, 7, 2], [5, 7, 9], [8, 4, 14, 7], 7),
    'facebook/sam2.1-hiera-small': _sam2(96, 1, [1, 2, 11, 2], [7, 10, 13], [8, 4, 14, 7], 7),
    'facebook/sam2.1-hiera-base-plus': _sam2(
        112, 2, [2, 3, 16, 3], [12, 16, 20], [8, 4, 14, 7], 14
    ),
    'facebook/sam2.1-hiera-large': _sam2(144, 2, [2, 6, 36, 4], [23, 33, 43], [8, 4, 16, 8], 7),
    'facebook/sam-vit-base': _sam(768, 12, 12, [2, 5, 8, 11]),
    'facebook/sam-vit-large': _sam(1024, 24, 16, [5, 11, 17, 23]),
    'facebook/sam-vit-huge': _sam(1280, 32, 16, [7, 15, 23, 31]),
}

SWIN = {
    'microsoft/swin-tiny-patch4-window7-224': _swin(96, 6, 3, 7, 224),
    'microsoft/swin-small-patch4-window7-224': _swin(96, 18, 3, 7, 224),
    'microsoft/swin-base-patch4-window7-224-in22k': _swin(128, 18, 4, 7, 224),
    'microsoft/swin-base-patch4-window12-384-in22k': _swin(128, 18, 4, 12, 384),
}

BERT = {'google-bert/bert-base-uncased': dict(model_type='bert')}

FAMILIES = {'siglip': SIGLIP, 'sam': SAM, 'swin': SWIN, 'bert': BERT}


def known_config(family: str, name: str) -> dict | None:
    """The config of hub checkpoint `name` of `family` (a key of FAMILIES) as a fresh dict."""
    return copy.deepcopy(FAMILIES[family].get(name))


# By how the names begin. SigLIP's, SigLIP 2's and SAM 2's were read on their pages of the hub (SAM
# 2.1's taken to be the same); SAM 1's, BERT's and Swin's were not. Absent: not known here.
LICENCES = {
    'google/siglip-': 'apache-2.0',
    'google/siglip2-': 'apache-2.0',
    'facebook/sam2.1-hiera-': 'apache-2.0',
    'facebook/sam-vit-': 'apache-2.0',
    'google-bert/bert-base-': 'apache-2.0',
    'microsoft/swin-': 'apache-2.0',
    'synthrs/towers/siglip_256': 'research use',  # so are the photographs that these two have seen
    'synthrs/towers/sam2_256': 'research use',
    'synthrs/towers/': 'apache-2.0',  # this project's own
}


def licence_of(name: str | None) -> str | None:
    """The licence of a tower's weights, as the hub spells it; None: not known."""
    return next(
        (licence for start, licence in LICENCES.items() if (name or '').startswith(start)), None
    )
