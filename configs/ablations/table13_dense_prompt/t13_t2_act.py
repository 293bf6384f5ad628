# Table XIII: T-t2'.
# python tools/train.py configs/ablations/table13_dense_prompt/t13_t2_act.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(dense=dict(text='t2_act')))
