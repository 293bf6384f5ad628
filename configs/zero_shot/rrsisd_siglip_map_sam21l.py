# The model without its prompter (Fig. 2): the peak of SigLIP's cosine map, drawn by SAM 2.1:
# python tools/test.py configs/zero_shot/rrsisd_siglip_map_sam21l.py
_base_ = ['../_base_/zero_shot.py', '../_base_/datasets/rrsisd.py']
train_dataloader = None
model = dict(
    type='SigLIPMap', prompt='point',  # or 'box'
    siglip=dict(checkpoint='google/siglip2-so400m-patch16-512'),
    sam=dict(checkpoint='facebook/sam2.1-hiera-large',
             stability_rule=dict(delta=0.05, threshold=0.98)))
