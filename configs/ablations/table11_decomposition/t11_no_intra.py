# Table XI: intra ✗.
# python tools/train.py configs/ablations/table11_decomposition/t11_no_intra.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(decomposition=dict(intra_attention=False)))
