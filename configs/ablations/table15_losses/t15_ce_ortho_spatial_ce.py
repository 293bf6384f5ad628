# Table XV: sample ✗, spatial CE (chosen here).
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho_spatial_ce.py
_base_ = '../../rrsisd_ablation.py'
model = dict(losses=dict(sample=None, spatial=dict(_delete_=True, type='SpatialLoss', kind='ce')))
