# L_spat beside L_dense: every patch of v against t2.
# python tools/train.py projects/localisation_study/configs/dense_spatial.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(losses=dict(spatial=dict(_delete_=True, type='SpatialLoss', kind='ce')))
