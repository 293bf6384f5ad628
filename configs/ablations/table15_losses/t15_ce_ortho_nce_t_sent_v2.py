# Table XV: ce, ortho, sample NCE-t_sent-v2.
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho_nce_t_sent_v2.py
_base_ = '../../rrsisd_ablation.py'
model = dict(
    losses=dict(
        sample=dict(text='t_sent', visual='v2_act')))
