# Table XV: ce, ortho, spatial CE-t_sent-v.
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho_ce_t_sent_v.py
_base_ = '../../rrsisd_ablation.py'
model = dict(
    losses=dict(
        spatial=dict(_delete_=True, type='SpatialLoss', kind='ce', text='t_sent'),
        sample=None))
