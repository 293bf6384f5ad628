# Table XIII: post-up.
# python tools/train.py configs/ablations/table13_dense_prompt/t13_post_up.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(dense=dict(upsample='post')))
