# Table XV: Dice ✓, ortho ✗, sample ✗ (chosen here).
# python tools/train.py configs/ablations/table15_losses/t15_ce_dice.py
_base_ = '../../rrsisd_ablation.py'
model = dict(losses=dict(
    seg=dict(dice=dict(_delete_=True, type='mmdet.DiceLoss', naive_dice=True)),
    ortho=None,
    sample=None))
