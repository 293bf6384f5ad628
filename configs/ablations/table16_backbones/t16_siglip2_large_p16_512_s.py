# Table XVI: encoder siglip2-large-p16-512, SAM sam2.1-s (chosen here).
# python tools/train.py configs/ablations/table16_backbones/t16_siglip2_large_p16_512_s.py
_base_ = '../../rrsisd_siglip2_sam21l.py'
model = dict(
    siglip=dict(checkpoint='google/siglip2-large-patch16-512'),
    sam=dict(checkpoint='facebook/sam2.1-hiera-small', lora=dict(r=32)))
