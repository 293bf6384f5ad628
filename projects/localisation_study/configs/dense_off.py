# No supervision of the dense prompt (the paper's losses).
# python tools/train.py projects/localisation_study/configs/dense_off.py
_base_ = './base.py'
model = dict(losses=dict(dense=None))
