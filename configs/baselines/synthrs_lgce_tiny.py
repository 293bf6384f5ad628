# The same with the language-guided enhancement (LGCE).
# python tools/train.py configs/baselines/synthrs_lgce_tiny.py
_base_ = './synthrs_lavt_tiny.py'
model = dict(enhancement=dict(inner=96, heads=4))
