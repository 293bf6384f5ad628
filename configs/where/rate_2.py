# Twice the learning rate.
# python tools/train.py configs/where/rate_2.py
_base_ = '../synthrs_long.py'
optim_wrapper = dict(optimizer=dict(lr=2e-3))
