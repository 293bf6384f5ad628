# Table XV: ce, ortho, spatial MIL-t_sent-v2.
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho_mil_t_sent_v2.py
_base_ = '../../rrsisd_ablation.py'
model = dict(
    losses=dict(
        spatial=dict(_delete_=True, type='SpatialLoss', kind='mil', text='t_sent', visual='v2_act'),
        sample=None))
