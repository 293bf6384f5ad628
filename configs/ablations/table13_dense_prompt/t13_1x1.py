# Table XIII: convolutions 1x1 (chosen here).
# python tools/train.py configs/ablations/table13_dense_prompt/t13_1x1.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(dense=dict(conv='1x1')))
