"""What a tower's config.json may hold: types, and upper bounds far above every known tower.

Declared are the fields that size the model; transformers checks the others. A bound keeps a damaged
number from asking for more time or memory than there is.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Layers = Annotated[int, Meta(ge=1, le=1000)]  # the most known: 48
Width = Annotated[int, Meta(ge=1, le=2**16)]  # 6,144
Pixels = Annotated[int, Meta(ge=1, le=2**14)]  # 1,024
Positions = Annotated[int, Meta(ge=1, le=2**16)]  # 256
Share = Annotated[float, Meta(ge=0, le=1)]
Words = Annotated[int, Meta(ge=1, le=2**22)]  # 256,000


class PartRecord(msgspec.Struct):
    """One part, or SAM 2's backbone within its vision part. Null stands for the default."""

    num_hidden_layers: Layers | None = None
    num_attention_heads: Layers | None = None
    num_channels: Layers | None = None
    blocks_per_stage: list[Layers] | None = None
    num_attention_heads_per_stage: list[Layers] | None = None
    num_feature_levels: Layers | None = None
    num_multimask_outputs: Layers | None = None
    num_point_embeddings: Layers | None = None
    iou_head_depth: Layers | None = None

    hidden_size: Width | None = None
    intermediate_size: Width | None = None
    projection_size: Width | None = None
    projection_dim: Width | None = None
    mlp_dim: Width | None = None
    output_channels: Width | None = None
    num_pos_feats: Width | None = None
    embed_dim_per_stage: list[Width] | None = None
    backbone_channel_list: list[Width] | None = None
    fpn_hidden_size: Width | None = None
    iou_head_hidden_dim: Width | None = None
    mask_input_channels: Width | None = None

    embed_dim: Width | None = None  # Swin's
    depths: list[Layers] | None = None
    num_heads: list[Layers] | None = None
    window_size: Layers | None = None

    image_size: Pixels | list[Pixels] | None = None
    patch_size: Pixels | None = None
    num_patches: Positions | None = None
    max_position_embeddings: Positions | None = None
    vocab_size: Words | None = None

    dropout: Share | None = None
    attention_dropout: Share | None = None
    model_type: str | None = None
    backbone_config: PartRecord | None = None


class TowerRecord(PartRecord):
    """The whole of a config.json, of whichever family: of parts, or of one tower."""

    text_config: PartRecord | None = None
    vision_config: PartRecord | None = None
    prompt_encoder_config: PartRecord | None = None
    mask_decoder_config: PartRecord | None = None
