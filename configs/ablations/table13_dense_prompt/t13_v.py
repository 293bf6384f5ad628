# Table XIII: V-v.
# python tools/train.py configs/ablations/table13_dense_prompt/t13_v.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(dense=dict(visual='v')))
