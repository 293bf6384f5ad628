# Table XI: intra ✗, inter ✗.
# python tools/train.py configs/ablations/table11_decomposition/t11_neither.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(decomposition=dict(intra_attention=False, inter_attention=False)))
