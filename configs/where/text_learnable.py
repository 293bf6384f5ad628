# Subspaces that start from learnable queries, not from the pooled words.
# python tools/train.py configs/where/text_learnable.py
_base_ = '../synthrs_tiny.py'
model = dict(prompter=dict(decomposition=dict(init='learnable')))
