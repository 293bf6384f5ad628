# Table XV: ce, ortho, sample NCE-t2-v2.
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho_nce_t2_v2.py
_base_ = '../../rrsisd_ablation.py'
model = dict(
    losses=dict(
        sample=dict(visual='v2_act')))
