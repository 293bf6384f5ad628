# No supervision of the dense prompt (the paper's losses).
# python tools/train.py configs/where/dense_off.py
_base_ = './base.py'
model = dict(losses=dict(dense=None))
