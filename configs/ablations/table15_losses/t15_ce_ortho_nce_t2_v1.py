# Table XV: sample NCE-t2-v1 (chosen here).
# python tools/train.py configs/ablations/table15_losses/t15_ce_ortho_nce_t2_v1.py
_base_ = '../../rrsisd_ablation.py'
model = dict(losses=dict(sample=dict(visual='v1_act')))
