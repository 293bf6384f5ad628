# Table VII: Decomp. 1 blocks.
# python tools/train.py configs/ablations/table07_blocks/t07_decomposition_1.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(decomposition_blocks=1))
