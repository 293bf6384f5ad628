# The towers frozen but for LoRA.
# python tools/train.py projects/localisation_study/configs/towers_lora.py
_base_ = './base.py'
model = dict(
    siglip=dict(
        vision_lora=dict(_delete_=True, r=16), text_lora=dict(_delete_=True, r=16), trainable=False
    ),
    sam=dict(lora=dict(_delete_=True, r=16), trainable=False),
)
