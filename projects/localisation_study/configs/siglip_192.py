# SigLIP at 192 instead of 128 pixels.
# python tools/train.py projects/localisation_study/configs/siglip_192.py
_base_ = './base.py'
model = dict(siglip=dict(image_size=192))
