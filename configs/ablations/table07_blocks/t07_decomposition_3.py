# Table VII: decomposition 3 (chosen here).
# python tools/train.py configs/ablations/table07_blocks/t07_decomposition_3.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(decomposition_blocks=3))
