# One block of Eq. 5 instead of two.
# python tools/train.py projects/localisation_study/configs/interaction_1.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(prompter=dict(interaction_blocks=1))
