# Table VI: clip-t, rank 32.
# python tools/train.py configs/ablations/table06_lora_rank/t06_text_32.py
_base_ = '../../rrsisd_ablation.py'
model = dict(siglip=dict(text_lora=dict(r=32)))
