# Table XV: ce, ortho, sample NCE-t_sent-v.
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho_nce_t_sent_v.py
_base_ = '../../rrsisd_ablation.py'
model = dict(
    losses=dict(
        sample=dict(text='t_sent')))
