# The visual position on queries and keys alone (the release's form).
# python tools/train.py configs/where/query_key.py
_base_ = './base.py'
model = dict(prompter=dict(visual_position='query_key'))
