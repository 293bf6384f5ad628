# CLIPSeg: python tools/test.py configs/zero_shot/rrsisd_clipseg.py
_base_ = ['../_base_/zero_shot.py', '../_base_/datasets/rrsisd.py']
train_dataloader = None
model = dict(type='CLIPSeg', checkpoint='CIDAS/clipseg-rd64-refined', threshold=0.5)
