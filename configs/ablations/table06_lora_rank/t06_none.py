# Table VI: SigLIP image 0, SigLIP text 0, SAM 0 (chosen here).
# python tools/train.py configs/ablations/table06_lora_rank/t06_none.py
_base_ = '../../rrsisd_ablation.py'
model = dict(siglip=dict(vision_lora=None, text_lora=None), sam=dict(lora=None))
