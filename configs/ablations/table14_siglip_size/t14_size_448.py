# Table XIV: 448 pixels.
# python tools/train.py configs/ablations/table14_siglip_size/t14_size_448.py
_base_ = '../../rrsisd_ablation.py'
model = dict(siglip=dict(image_size=448))
