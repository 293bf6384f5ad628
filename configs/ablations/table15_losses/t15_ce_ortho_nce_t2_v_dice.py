# Table XV: ce, ortho, sample NCE-t2-v, dice.
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho_nce_t2_v_dice.py
_base_ = '../../rrsisd_ablation.py'
model = dict(
    losses=dict(
        seg=dict(dice=dict(_delete_=True, type='mmdet.DiceLoss', naive_dice=True))))
