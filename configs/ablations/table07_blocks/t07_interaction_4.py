# Table VII: Interac. 4 blocks.
# python tools/train.py configs/ablations/table07_blocks/t07_interaction_4.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(interaction_blocks=4))
