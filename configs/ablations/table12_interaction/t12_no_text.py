# Table XII: text to text ✗.
# python tools/train.py configs/ablations/table12_interaction/t12_no_text.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(interaction=dict(text_attention=False)))
