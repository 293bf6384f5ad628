# Table XII: self ✓, cross ✗.
# python tools/train.py configs/ablations/table12_interaction/t12_no_cross.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(interaction=dict(image_attention=False)))
