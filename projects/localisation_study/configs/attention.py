# The visual position on queries, keys and values, not in v itself.
# python tools/train.py projects/localisation_study/configs/attention.py
_base_ = './base.py'
model = dict(prompter=dict(visual_position='attention'))
