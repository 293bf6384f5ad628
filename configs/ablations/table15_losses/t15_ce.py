# Table XV: ce.
# python tools/train.py configs/ablations/table15_losses/t15_ce.py
_base_ = '../../rrsisd_ablation.py'
model = dict(
    losses=dict(
        ortho=None,
        sample=None))
