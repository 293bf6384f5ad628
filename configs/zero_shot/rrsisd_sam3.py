# SAM 3's best instance; its weights ask for one's consent on the hub:
# python tools/test.py configs/zero_shot/rrsisd_sam3.py
_base_ = ['../_base_/zero_shot.py', '../_base_/datasets/rrsisd.py']
train_dataloader = None
model = dict(type='SAM3Concepts', checkpoint='facebook/sam3', instances='best')
