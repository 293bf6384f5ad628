# Table X: cascade ✓, dense prompt ✗.
# python tools/train.py configs/ablations/table10_cascade_dense/t10_no_dense.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(dense=None))
