# Table XV: ce, ortho.
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho.py
_base_ = '../../rrsisd_ablation.py'
model = dict(
    losses=dict(
        sample=None))
