# No visual position in the prompter: the towers' own alone.
# python tools/train.py projects/localisation_study/configs/no_position.py
_base_ = './base.py'
model = dict(prompter=dict(visual_pe='zero'))
