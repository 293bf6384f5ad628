# Attentions and MLPs of the prompter twice as wide.
# python tools/train.py projects/localisation_study/configs/wide.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(prompter=dict(inner=192, heads=8, mlp_hidden=384))
