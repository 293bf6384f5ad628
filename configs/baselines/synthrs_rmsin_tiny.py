# The same with RMSIN's interactions and rotated convolutions.
# python tools/train.py configs/baselines/synthrs_rmsin_tiny.py
_base_ = './synthrs_lavt_tiny.py'
model = dict(intra_scale=dict(), cross_scale=dict(heads=4, key_width=12),
             decoder=dict(rotated_kernels=4))
