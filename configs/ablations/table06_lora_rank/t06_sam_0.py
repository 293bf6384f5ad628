# Table VI: sam-v, rank 0.
# python tools/train.py configs/ablations/table06_lora_rank/t06_sam_0.py
_base_ = '../../rrsisd_ablation.py'
model = dict(sam=dict(lora=None))
