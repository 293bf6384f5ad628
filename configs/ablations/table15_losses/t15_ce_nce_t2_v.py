# Table XV: ortho ✗ (chosen here).
# python tools/train.py configs/ablations/table15_losses/t15_ce_nce_t2_v.py
_base_ = '../../rrsisd_ablation.py'
model = dict(losses=dict(ortho=None))
