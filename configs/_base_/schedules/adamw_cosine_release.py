# The release's schedule: warm-up, constant to epoch 30, a part of a cosine to epoch 300. Decay
# 0.05 and clipping 3.0 are those of adamw_cosine_300e.py; batch 8 on each GPU.
_base_ = './adamw_cosine_300e.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=5, by_epoch=True,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=30, end=300, T_max=390, by_epoch=True)]
