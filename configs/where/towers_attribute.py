# SigLIP pretrained on sentences of the attribute level alone: it never saw where.
# python tools/train.py configs/where/towers_attribute.py
_base_ = './base.py'
model = dict(siglip=dict(checkpoint='work_dirs/towers/attribute'))
