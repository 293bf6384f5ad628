# Table XIV: pixels 256 (chosen here).
# python tools/train.py configs/ablations/table14_siglip_size/t14_size_256.py
_base_ = '../../rrsisd_ablation.py'
model = dict(siglip=dict(image_size=256))
