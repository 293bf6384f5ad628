# Table VII: decomposition 1 (chosen here).
# python tools/train.py configs/ablations/table07_blocks/t07_decomposition_1.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(decomposition_blocks=1))
