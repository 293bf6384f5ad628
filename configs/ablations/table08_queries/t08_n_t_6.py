# Table VIII: Decomp., n_t 6.
# python tools/train.py configs/ablations/table08_queries/t08_n_t_6.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(n_t=6))
