# Table XV: ce, ortho, dense.
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho_dense.py
_base_ = '../../rrsisd_ablation.py'
model = dict(
    losses=dict(
        dense=dict(_delete_=True, type='DenseLoss'),
        sample=None))
