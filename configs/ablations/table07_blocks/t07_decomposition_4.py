# Table VII: decomposition 4.
# python tools/train.py configs/ablations/table07_blocks/t07_decomposition_4.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(decomposition_blocks=4))
