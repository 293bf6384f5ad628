"""Tiny Swin and BERT for the trained baselines, as configs and in the hub's own format."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertTokenizer,
    SwinConfig,
    SwinForImageClassification,
)

from rsrefseg2.registry import MODELS
from tests.tiny_towers import WORDS

SIDE = 64  # 16, 8, 4 and 2 positions a side
LOSSES = dict(
    seg=dict(type='SegmentationLoss', ce=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True))
)
VARIANTS = {
    'lavt': {},
    'lgce': dict(enhancement=dict(inner=16, heads=2)),
    'rmsin': dict(
        intra_scale={}, cross_scale=dict(heads=2, key_width=4), decoder=dict(rotated_kernels=2)
    ),
}


def swin_config(side: int = SIDE) -> dict:
    """Windows of 3 positions, which divide no stage's size: all are padded."""
    return dict(
        model_type='swin',
        image_size=side,
        patch_size=4,
        embed_dim=8,
        depths=[1, 2, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=3,
    )


def bert_config(vocab_size: int = 64) -> dict:
    """Two layers of width 16."""
    return dict(
        model_type='bert',
        vocab_size=vocab_size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
    )


def write_swin(folder: str | Path, seed: int = 0) -> Path:
    """A Swin with its classifier, as the hub has it."""
    config = SwinConfig(**_without_type(swin_config()), num_labels=5)
    return _save(SwinForImageClassification, config, folder, seed)


def write_bert(folder: str | Path, seed: int = 0) -> Path:
    """A BERT with the heads of its pretraining, and a word-piece tokenizer."""
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *WORDS]
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(str(folder))
    config = BertConfig(**_without_type(bert_config(len(words))))
    return _save(BertForPreTraining, config, folder, seed)


def lavt(seed: int = 0, *, swin: dict | None = None, bert: dict | None = None, **options):
    """A LAVT, LGCE or RMSIN (`VARIANTS`); of random weights unless folders are given."""
    config = dict(
        type='LAVT',
        swin=dict(checkpoint=swin_config(), drop_path=0.0) | (swin or {}),
        bert=dict(checkpoint=bert_config(), max_length=16) | (bert or {}),
        losses=LOSSES,
        **options,
    )
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope('rsrefseg2'):
        return MODELS.build(config)


def _without_type(config: dict) -> dict:
    return {key: value for key, value in config.items() if key != 'model_type'}


def _save(model_class, config, folder: str | Path, seed: int) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    model.save_pretrained(str(folder))
    return Path(folder)
