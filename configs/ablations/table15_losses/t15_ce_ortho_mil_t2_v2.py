# Table XV: ce, ortho, spatial MIL-t2-v2.
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho_mil_t2_v2.py
_base_ = '../../rrsisd_ablation.py'
model = dict(
    losses=dict(
        spatial=dict(_delete_=True, type='SpatialLoss', kind='mil', visual='v2_act'),
        sample=None))
