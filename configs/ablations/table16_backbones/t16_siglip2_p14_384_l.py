# Table XVI: encoder siglip2-p14-384, SAM sam2.1-l.
# python tools/train.py configs/ablations/table16_backbones/t16_siglip2_p14_384_l.py
_base_ = '../../rrsisd_siglip2_sam21l.py'
model = dict(siglip=dict(checkpoint='google/siglip2-so400m-patch14-384'))
