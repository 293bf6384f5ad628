# Table XVI: siglip2-giant-p16-256, sam2.1-s.
# python tools/train.py configs/ablations/table16_backbones/t16_siglip2_giant_p16_256_s.py
_base_ = '../../rrsisd_siglip2_sam21l.py'
model = dict(
    siglip=dict(checkpoint='google/siglip2-giant-opt-patch16-256'),
    sam=dict(checkpoint='facebook/sam2.1-hiera-small', lora=dict(r=32)))
