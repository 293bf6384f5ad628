# The † row of Tables VI-XIV: SigLIP2-so400m-p14-384 and SAM2.1-S, LoRA 16/16/32, without Dice.
# python tools/train.py configs/rrsisd_ablation.py
_base_ = './rrsisd_siglip2_sam21l.py'
model = dict(siglip=dict(checkpoint='google/siglip2-so400m-patch14-384'),
             sam=dict(checkpoint='facebook/sam2.1-hiera-small', lora=dict(r=32)),
             losses=dict(seg=dict(dice=None)))
