# Table XVI: encoder CLIP-L-p14-336, SAM sam2.1-s (chosen here).
# python tools/train.py configs/ablations/table16_backbones/t16_clip_l14_336_s.py
_base_ = '../../rrsisd_siglip2_sam21l.py'
model = dict(
    siglip=dict(checkpoint='openai/clip-vit-large-patch14-336'),
    sam=dict(checkpoint='facebook/sam2.1-hiera-small', lora=dict(r=32)))
