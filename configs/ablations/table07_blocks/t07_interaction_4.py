# Table VII: interaction 4 (chosen here).
# python tools/train.py configs/ablations/table07_blocks/t07_interaction_4.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(interaction_blocks=4))
