# Table XIII: w/ T-soft.
# python tools/train.py configs/ablations/table13_dense_prompt/t13_text_mlp.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(dense=dict(text_mlp=True)))
