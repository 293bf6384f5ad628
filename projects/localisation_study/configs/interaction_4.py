# Four blocks of Eq. 5 instead of two.
# python tools/train.py projects/localisation_study/configs/interaction_4.py
_base_ = './base.py'
model = dict(prompter=dict(interaction_blocks=4))
