# Table XI: intra ✓, inter ✗.
# python tools/train.py configs/ablations/table11_decomposition/t11_no_inter.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(decomposition=dict(inter_attention=False)))
