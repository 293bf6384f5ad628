# Table VI: clip-t, rank 64.
# python tools/train.py configs/ablations/table06_lora_rank/t06_text_64.py
_base_ = '../../rrsisd_ablation.py'
model = dict(siglip=dict(text_lora=dict(r=64)))
