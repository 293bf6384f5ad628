"""Tiny detectors, CLIPSeg and SAM 3 of random weights, in the hub's own format.

Each folder has config.json, model.safetensors, tokenizer files and, but for SAM 3, whose own needs
torchvision, preprocessor_config.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertTokenizer,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Sam3Config,
    Sam3Model,
)

from tests.tiny_towers import WORDS, write_clip

TEXT = dict(
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    projection_dim=16,
)


def write_grounding_dino(folder: str | Path, seed: int = 0) -> Path:
    """Swin of one block a stage, BERT of one layer, 10 queries; images of 64 to 96 pixels."""
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *WORDS]
    config = GroundingDinoConfig(
        backbone_config=dict(
            model_type='swin',
            image_size=32,
            patch_size=4,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_features=['stage2', 'stage3', 'stage4'],
        ),
        text_config=dict(
            model_type='bert', vocab_size=len(words), max_position_embeddings=64, **TEXT
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=10,
        max_text_len=16,
        num_feature_levels=3,
    )
    folder = _save(GroundingDinoForObjectDetection, config, folder, seed)
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(str(folder))
    return _with_processor(
        folder,
        image_processor_type='GroundingDinoImageProcessor',
        size=dict(shortest_edge=64, longest_edge=96),
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )


def write_owlv2(folder: str | Path, seed: int = 0) -> Path:
    """32 pixels in patches of 8: 16 boxes; 8 tokens."""
    vocabulary = write_clip(Path(folder), seed=seed)  # for its tokenizer
    size = json.loads((vocabulary / 'config.json').read_text())['text_config']['vocab_size']
    config = Owlv2Config(
        text_config=dict(TEXT, vocab_size=size, max_position_embeddings=8, **_marks(size)),
        vision_config=dict(TEXT, image_size=32, patch_size=8),
        projection_dim=16,
    )
    return _with_processor(
        _save(Owlv2ForObjectDetection, config, folder, seed),
        image_processor_type='Owlv2ImageProcessor',
        size=dict(height=32, width=32),
    )


def write_clipseg(folder: str | Path, seed: int = 0) -> Path:
    """32 pixels in patches of 8, logits of 32 x 32; 8 tokens."""
    vocabulary = write_clip(Path(folder), seed=seed)
    size = json.loads((vocabulary / 'config.json').read_text())['text_config']['vocab_size']
    config = CLIPSegConfig(
        text_config=dict(TEXT, vocab_size=size, max_position_embeddings=8, **_marks(size)),
        vision_config=dict(TEXT, num_hidden_layers=3, image_size=32, patch_size=8),
        projection_dim=16,
        extract_layers=[0, 1, 2],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    return _with_processor(
        _save(CLIPSegForImageSegmentation, config, folder, seed),
        image_processor_type='ViTImageProcessor',
        size=dict(height=32, width=32),
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )


def write_sam3(folder: str | Path, seed: int = 0) -> Path:
    """56 pixels in patches of 14: masks of 16 x 16; 8 tokens, 6 queries."""
    vocabulary = write_clip(Path(folder), seed=seed)
    size = json.loads((vocabulary / 'config.json').read_text())['text_config']['vocab_size']
    layer = dict(hidden_size=32, num_attention_heads=2)
    detr = dict(layer, num_layers=1, intermediate_size=32)
    config = Sam3Config(
        vision_config=dict(
            backbone_config=dict(
                layer,
                model_type='sam3_vit_model',
                intermediate_size=32,
                num_hidden_layers=2,
                image_size=56,
                pretrain_image_size=56,
                patch_size=14,
                window_size=2,
                global_attn_indexes=[1],
            ),
            fpn_hidden_size=32,
            backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        ),
        text_config=dict(
            TEXT, hidden_act='gelu', vocab_size=size, max_position_embeddings=8, **_marks(size)
        ),
        geometry_encoder_config=detr,
        detr_encoder_config=detr,
        detr_decoder_config=dict(detr, num_queries=6),
        mask_decoder_config=dict(layer),
    )
    return _save(Sam3Model, config, folder, seed)


def as_video(folder: Path) -> Path:
    """A written SAM 3 as the hub keeps it: the detector of a video model, beside a tracker."""
    path, weights = folder / 'config.json', folder / 'model.safetensors'
    detector = json.loads(path.read_text())
    path.write_text(json.dumps(dict(model_type='sam3_video', detector_config=detector)))
    held = {f'detector_model.{name}': value for name, value in load_file(weights).items()}
    tracker = {f'tracker_{part}.weight': torch.zeros(1) for part in ('model', 'neck')}
    save_file({**held, **tracker}, weights, metadata={'format': 'pt'})
    return folder


def _marks(size: int) -> dict:
    return dict(bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1)


def _with_processor(folder: Path, **settings) -> Path:
    (folder / 'preprocessor_config.json').write_text(json.dumps(settings))
    return folder


def _save(model_class, config, folder: str | Path, seed: int) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
        for weight in model.parameters():  # some heads begin at 0: all boxes alike
            if not weight.any() and weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.2)
        if model_class is Owlv2ForObjectDetection:  # scores between 0 and 1
            for head in (model.class_head.logit_shift, model.class_head.logit_scale):
                head.weight.data.mul_(0.05)
    model.save_pretrained(str(folder))
    return Path(folder)
