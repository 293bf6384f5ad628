# Table XVI: siglip2-p16-512, sam2.1-t.
# python tools/train.py configs/ablations/table16_backbones/t16_siglip2_p16_512_t.py
_base_ = '../../rrsisd_siglip2_sam21l.py'
model = dict(
    sam=dict(checkpoint='facebook/sam2.1-hiera-tiny', lora=dict(r=32)))
