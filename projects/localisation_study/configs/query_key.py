# The visual position on queries and keys alone (the release's form).
# python tools/train.py projects/localisation_study/configs/query_key.py
_base_ = './base.py'
model = dict(prompter=dict(visual_position='query_key'))
