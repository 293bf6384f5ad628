# Table VI: clip-v, rank 4.
# python tools/train.py configs/ablations/table06_lora_rank/t06_vision_4.py
_base_ = '../../rrsisd_ablation.py'
model = dict(siglip=dict(vision_lora=dict(r=4)))
