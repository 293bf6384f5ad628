# Table VI: sam-v, rank 16.
# python tools/train.py configs/ablations/table06_lora_rank/t06_sam_16.py
_base_ = '../../rrsisd_ablation.py'
model = dict(sam=dict(lora=dict(r=16)))
