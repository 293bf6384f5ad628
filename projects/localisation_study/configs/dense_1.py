# The dense prompt supervised at weight 1 instead of 8.
# python tools/train.py projects/localisation_study/configs/dense_1.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(losses=dict(dense=dict(loss_weight=1.0)))
