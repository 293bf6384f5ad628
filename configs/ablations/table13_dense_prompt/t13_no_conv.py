# Table XIII: w/o V-soft.
# python tools/train.py configs/ablations/table13_dense_prompt/t13_no_conv.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(dense=dict(conv=None)))
