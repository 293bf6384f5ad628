# Table VIII: Prompt, n_p 6.
# python tools/train.py configs/ablations/table08_queries/t08_n_p_6.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(n_p=6))
