# Table X: cascade ✗, dense prompt ✗.
# Without t1 and t2 there is no L_ortho, and no NCE-t2.
# python tools/train.py configs/ablations/table10_cascade_dense/t10_neither.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(type='SingleStagePrompter', dense=None),
             losses=dict(ortho=None, sample=None))
