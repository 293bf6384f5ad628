# The towers trained whole, SigLIP at 0.15 of the learning rate.
# python tools/train.py projects/localisation_study/configs/towers_slow.py
_base_ = './base.py'
optim_wrapper = dict(paramwise_cfg=dict(rates={'encoder.': 0.15}))
