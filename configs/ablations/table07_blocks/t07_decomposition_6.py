# Table VII: Decomp. 6 blocks.
# python tools/train.py configs/ablations/table07_blocks/t07_decomposition_6.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(decomposition_blocks=6))
