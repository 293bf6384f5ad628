# Table VI: clip-t, rank 8.
# python tools/train.py configs/ablations/table06_lora_rank/t06_text_8.py
_base_ = '../../rrsisd_ablation.py'
model = dict(siglip=dict(text_lora=dict(r=8)))
