# Table VI: clip-t, rank 0.
# python tools/train.py configs/ablations/table06_lora_rank/t06_text_0.py
_base_ = '../../rrsisd_ablation.py'
model = dict(siglip=dict(text_lora=None))
