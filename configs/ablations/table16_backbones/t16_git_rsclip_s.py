# Table XVI: encoder Git-RSCLIP (siglip-large-p16-256), SAM sam2.1-s (chosen here).
# python tools/train.py configs/ablations/table16_backbones/t16_git_rsclip_s.py
_base_ = '../../rrsisd_siglip2_sam21l.py'
model = dict(
    siglip=dict(checkpoint='lcybuaa/Git-RSCLIP'),
    sam=dict(checkpoint='facebook/sam2.1-hiera-small', lora=dict(r=32)))
