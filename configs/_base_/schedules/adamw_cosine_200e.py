# RSRefSeg's code: AdamW 1e-4, weight decay 0.05, 200 epochs, 5 of them a linear warm-up from 0.01x, cosine
# to 0.001x, no clipping. Its batch is one sentence a device, of an unstated number of devices; here it is 8.
_base_ = './adamw_cosine_300e.py'
optim_wrapper = dict(clip_grad=None)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=5, by_epoch=True,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.001, begin=5, end=200, T_max=195, by_epoch=True,
         convert_to_iter_based=True)]
train_cfg = dict(max_epochs=200, val_interval=5)
auto_scale_lr = None
