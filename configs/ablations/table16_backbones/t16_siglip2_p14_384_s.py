# Table XVI: siglip2-p14-384, sam2.1-s.
# python tools/train.py configs/ablations/table16_backbones/t16_siglip2_p14_384_s.py
_base_ = '../../rrsisd_siglip2_sam21l.py'
model = dict(
    siglip=dict(checkpoint='google/siglip2-so400m-patch14-384'),
    sam=dict(checkpoint='facebook/sam2.1-hiera-small', lora=dict(r=32)))
