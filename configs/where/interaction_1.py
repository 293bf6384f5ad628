# One block of Eq. 5 instead of two.
# python tools/train.py configs/where/interaction_1.py
_base_ = '../synthrs_tiny.py'
model = dict(prompter=dict(interaction_blocks=1))
