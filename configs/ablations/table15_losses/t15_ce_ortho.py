# Table XV: sample ✗ (chosen here).
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho.py
_base_ = '../../rrsisd_ablation.py'
model = dict(losses=dict(sample=None))
