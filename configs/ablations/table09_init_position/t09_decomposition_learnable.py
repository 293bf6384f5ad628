# Table IX: Decomp., PE ✓, learnable.
# python tools/train.py configs/ablations/table09_init_position/t09_decomposition_learnable.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(decomposition=dict(init='learnable')))
