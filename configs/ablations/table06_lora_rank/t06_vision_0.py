# Table VI: clip-v, rank 0.
# python tools/train.py configs/ablations/table06_lora_rank/t06_vision_0.py
_base_ = '../../rrsisd_ablation.py'
model = dict(siglip=dict(vision_lora=None))
