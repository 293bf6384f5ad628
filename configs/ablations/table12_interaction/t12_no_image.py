# Table XII: image to text ✗.
# python tools/train.py configs/ablations/table12_interaction/t12_no_image.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(interaction=dict(image_attention=False)))
