# Table XII: self ✗, cross ✗.
# python tools/train.py configs/ablations/table12_interaction/t12_neither.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(interaction=dict(text_attention=False, image_attention=False)))
