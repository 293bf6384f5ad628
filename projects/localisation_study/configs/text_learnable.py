# Subspaces that start from learnable queries, not from the pooled words.
# python tools/train.py projects/localisation_study/configs/text_learnable.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(prompter=dict(decomposition=dict(init='learnable')))
