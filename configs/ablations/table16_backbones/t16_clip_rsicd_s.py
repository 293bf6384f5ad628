# Table XVI: encoder CLIP-B-p32 (RSICD), SAM sam2.1-s (chosen here).
# python tools/train.py configs/ablations/table16_backbones/t16_clip_rsicd_s.py
_base_ = '../../rrsisd_siglip2_sam21l.py'
model = dict(
    siglip=dict(checkpoint='flax-community/clip-rsicd-v2'),
    sam=dict(checkpoint='facebook/sam2.1-hiera-small', lora=dict(r=32)))
