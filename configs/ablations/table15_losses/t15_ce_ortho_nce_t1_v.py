# Table XV: sample NCE-t1-v (chosen here).
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho_nce_t1_v.py
_base_ = '../../rrsisd_ablation.py'
model = dict(losses=dict(sample=dict(text='t1')))
