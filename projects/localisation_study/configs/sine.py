# The visual position as fixed sine and cosine.
# python tools/train.py projects/localisation_study/configs/sine.py
_base_ = './base.py'
model = dict(prompter=dict(visual_pe='sine'))
