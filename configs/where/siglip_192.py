# SigLIP at 192 instead of 128 pixels.
# python tools/train.py configs/where/siglip_192.py
_base_ = './base.py'
model = dict(siglip=dict(image_size=192))
