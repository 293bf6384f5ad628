# Grounding DINO's best box, drawn by SAM 2.1 as it was released. No checkpoint of one's own:
# python tools/test.py configs/zero_shot/rrsisd_grounding_dino_sam21l.py
_base_ = ['../_base_/zero_shot.py', '../_base_/datasets/rrsisd.py']
train_dataloader = None
model = dict(
    type='BoxToMask', detector='IDEA-Research/grounding-dino-base',
    sam=dict(checkpoint='facebook/sam2.1-hiera-large',
             stability_rule=dict(delta=0.05, threshold=0.98)))
