"""Tiny SigLIP, SigLIP2, CLIP, SAM2.1 and SAM 1 checkpoints of random weights, for all tests.

`*_config` are dicts for `init='random'`; `write_*` write a folder in the hub's own format
(config.json, model.safetensors, tokenizer files) that loads by the code of the real ones.
About 0.05 M parameters each; images of 32 x 32 for SigLIP (4 x 4 tokens) and 64 x 64 for SAM
(16 x 16 masks).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    Sam2Config,
    Sam2Model,
    Sam2VideoConfig,
    Sam2VideoModel,
    SamConfig,
    SamModel,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
)

from rsrefseg2.models.towers.tokenizers import write_word_tokenizer

WORDS = (
    'the',
    'a',
    'red',
    'blue',
    'car',
    'ship',
    'plane',
    'on',
    'left',
    'right',
    'of',
    'upper',
    'lower',
    ',',
    '.',
)
SIGLIP_IMAGE, SAM_IMAGE = 32, 64


def siglip_config(
    *,
    width: int = 32,
    vision_width: int | None = None,
    vocab_size: int = 64,
    positions: int = 16,
    layers: int = 2,
    image: int = SIGLIP_IMAGE,
    patch: int = 8,
) -> dict:
    """SigLIP's shape; `vision_width` other than `width` is siglip2-giant's case."""
    vision_width = vision_width or width

    def sizes(d: int) -> dict:
        return dict(
            hidden_size=d, intermediate_size=2 * d, num_hidden_layers=layers, num_attention_heads=2
        )

    return dict(
        model_type='siglip',
        text_config=dict(
            sizes(width),
            vocab_size=vocab_size,
            max_position_embeddings=positions,
            projection_size=vision_width,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=2,
        ),
        vision_config=dict(sizes(vision_width), image_size=image, patch_size=patch),
    )


def naflex_config(*, image: int = SIGLIP_IMAGE, patch: int = 8, **sizes) -> dict:
    """SigLIP2's NaFlex shape: a budget of patches in place of a size."""
    config = siglip_config(image=image, patch=patch, **sizes)
    del config['vision_config']['image_size']
    config['vision_config']['num_patches'] = (image // patch) ** 2
    return dict(config, model_type='siglip2')


def clip_config(
    *, vocab_size: int = 64, positions: int = 20, image: int = SIGLIP_IMAGE, patch: int = 8
) -> dict:
    """CLIP's shape: text of 32, image of 48, a common space of 24."""

    def sizes(d: int) -> dict:
        return dict(
            hidden_size=d,
            intermediate_size=2 * d,
            num_hidden_layers=2,
            num_attention_heads=2,
            projection_dim=24,
        )

    return dict(
        model_type='clip',
        projection_dim=24,
        text_config=dict(
            sizes(32),
            vocab_size=vocab_size,
            max_position_embeddings=positions,
            bos_token_id=vocab_size - 2,
            eos_token_id=vocab_size - 1,
            pad_token_id=vocab_size - 1,
        ),
        vision_config=dict(sizes(48), image_size=image, patch_size=patch),
    )


def sam2_config() -> dict:
    """SAM2.1's shape: Hiera of four stages, d2 = 32, features of 16, 8 and 4."""
    return dict(
        model_type='sam2',
        vision_config=dict(
            backbone_config=dict(
                hidden_size=8,
                num_attention_heads=1,
                image_size=[SAM_IMAGE, SAM_IMAGE],
                blocks_per_stage=[1, 1, 2, 1],
                embed_dim_per_stage=[8, 16, 32, 64],
                num_attention_heads_per_stage=[1, 2, 4, 8],
                window_size_per_stage=[4, 2, 2, 2],
                global_attention_blocks=[3],
                window_positional_embedding_background_size=[4, 4],
            ),
            backbone_channel_list=[64, 32, 16, 8],
            backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
            fpn_hidden_size=32,
        ),
        prompt_encoder_config=dict(
            hidden_size=32, image_size=SAM_IMAGE, patch_size=16, mask_input_channels=8
        ),
        mask_decoder_config=dict(
            hidden_size=32, num_attention_heads=2, mlp_dim=64, iou_head_hidden_dim=32
        ),
    )


def sam_config() -> dict:
    """SAM 1's shape: a plain ViT with one global layer, d2 = 32."""
    return dict(
        model_type='sam',
        vision_config=dict(
            hidden_size=32,
            output_channels=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SAM_IMAGE,
            patch_size=16,
            window_size=2,
            global_attn_indexes=[1],
            num_pos_feats=16,
            mlp_dim=64,
            initializer_range=0.02,
        ),  # transformers' 1e-10 draws zeros
        prompt_encoder_config=dict(
            hidden_size=32, image_size=SAM_IMAGE, patch_size=16, mask_input_channels=8
        ),
        mask_decoder_config=dict(
            hidden_size=32, num_attention_heads=2, mlp_dim=64, iou_head_hidden_dim=32
        ),
    )


def write_siglip(
    folder: str | Path, *, generation: int = 2, words=WORDS, seed: int = 0, **sizes
) -> Path:
    """A SigLIP checkpoint with its pooling head, as the hub has it, and a word tokenizer.

    In generation 1 the padding token is eos, as in SigLIP 1.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    vocab_size = write_word_tokenizer(folder, words, pad_is_eos=generation == 1)
    config = siglip_config(vocab_size=vocab_size, **sizes)
    config['text_config']['pad_token_id'] = 1 if generation == 1 else 0
    return _save(SiglipModel, SiglipConfig, config, folder, seed)


def write_naflex(folder: str | Path, *, words=WORDS, seed: int = 0, **sizes) -> Path:
    """A NaFlex SigLIP2 checkpoint with its pooling head, and a word tokenizer."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # transformers reads the tokenizer of this kind as Gemma's, which adds two tokens
    vocab_size = write_word_tokenizer(folder, words) + 2
    return _save(
        Siglip2Model, Siglip2Config, naflex_config(vocab_size=vocab_size, **sizes), folder, seed
    )


def write_clip(folder: str | Path, *, words=WORDS, seed: int = 0, **sizes) -> Path:
    """A CLIP checkpoint with CLIP's own kind of tokenizer: byte pairs, one for each of `words`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + '</w>' for letter in letters)]
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        joined, *rest = [*word[:-1], word[-1] + '</w>']
        for letter in rest:
            merges[joined, letter] = None
            joined += letter
            tokens.append(joined)
    tokens = [*dict.fromkeys(tokens), '<|startoftext|>', '<|endoftext|>']
    CLIPTokenizer(
        vocab={token: i for i, token in enumerate(tokens)}, merges=list(merges)
    ).save_pretrained(str(folder))
    return _save(CLIPModel, CLIPConfig, clip_config(vocab_size=len(tokens), **sizes), folder, seed)


def write_sam2(folder: str | Path, *, seed: int = 0) -> Path:
    """A SAM2.1 image checkpoint."""
    return _save(Sam2Model, Sam2Config, named_sam2(sam2_config()), folder, seed)


def write_sam2_video(folder: str | Path, *, seed: int = 0) -> Path:
    """A SAM2.1 checkpoint as the hub has it: a video model, with the memory's weights."""
    config = dict(
        named_sam2(sam2_config()),
        model_type='sam2_video',
        memory_attention_hidden_size=32,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=32,
        memory_encoder_output_channels=8,
        mask_downsampler_embed_dim=32,
        memory_fuser_num_layers=1,
        memory_fuser_embed_dim=32,
        memory_fuser_intermediate_dim=32,
        image_size=SAM_IMAGE,
    )
    return _save(Sam2VideoModel, Sam2VideoConfig, config, folder, seed)


def write_sam(folder: str | Path, *, seed: int = 0) -> Path:
    """A SAM 1 checkpoint."""
    return _save(SamModel, SamConfig, sam_config(), folder, seed)


def edit_weights(folder: Path, *, drop: tuple[str, ...] = (), add: dict | None = None) -> None:
    """Remove and add tensors of a written checkpoint: a damaged one, for the tests."""
    path = folder / 'model.safetensors'
    tensors = {key: value for key, value in load_file(path).items() if key not in drop}
    save_file({**tensors, **(add or {})}, path, metadata={'format': 'pt'})


def cut(folder: Path, pieces: int = 3) -> None:
    """The weights of a written checkpoint in several files with their index, as big ones are."""
    tensors = load_file(folder / 'model.safetensors')
    (folder / 'model.safetensors').unlink()
    where = {}
    for i in range(pieces):
        name = f'model-{i + 1:05}-of-{pieces:05}.safetensors'
        part = {key: tensors[key] for key in sorted(tensors)[i::pieces]}
        save_file(part, folder / name, metadata={'format': 'pt'})
        where |= dict.fromkeys(part, name)
    (folder / 'model.safetensors.index.json').write_text(
        json.dumps({'metadata': {}, 'weight_map': where})
    )


def pickled(folder: Path) -> None:
    """The weights of a written checkpoint as pytorch_model.bin, as older ones are."""
    torch.save(load_file(folder / 'model.safetensors'), folder / 'pytorch_model.bin')
    (folder / 'model.safetensors').unlink()


def edit_config(folder: Path, **changes) -> None:
    """Change keys of a written checkpoint's config.json."""
    path = folder / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def named_sam2(config: dict) -> dict:
    """With the model types that transformers itself needs to find SAM2's vision parts."""
    vision = dict(config['vision_config'], model_type='sam2_vision_model')
    vision['backbone_config'] = dict(vision['backbone_config'], model_type='sam2_hiera_det_model')
    return dict(config, vision_config=vision)


def _save(model_class, config_class, config: dict, folder: str | Path, seed: int) -> Path:
    config = {key: value for key, value in config.items() if key != 'model_type'}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config_class(**config))
    for name in ('prompt_encoder', 'shared_image_embedding'):
        if not hasattr(model, name):
            break
    else:  # every trained SAM has one Fourier basis for image and prompt positions
        model.prompt_encoder.shared_embedding.positional_embedding.data.copy_(
            model.shared_image_embedding.positional_embedding
        )
    model.save_pretrained(str(folder))
    return Path(folder)
