# Table VI: clip-t, rank 4.
# python tools/train.py configs/ablations/table06_lora_rank/t06_text_4.py
_base_ = '../../rrsisd_ablation.py'
model = dict(siglip=dict(text_lora=dict(r=4)))
