# Table IX: Decomp., PE ✗, textpool.
# python tools/train.py configs/ablations/table09_init_position/t09_decomposition_textpool_no_pe.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(decomposition=dict(pe='zero')))
