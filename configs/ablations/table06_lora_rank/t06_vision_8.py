# Table VI: clip-v, rank 8.
# python tools/train.py configs/ablations/table06_lora_rank/t06_vision_8.py
_base_ = '../../rrsisd_ablation.py'
model = dict(siglip=dict(vision_lora=dict(r=8)))
