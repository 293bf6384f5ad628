# Minutes on a CPU: 1200 iterations.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=1.0), constructor='TrainableOptimWrapperConstructor',
    paramwise_cfg=dict(decay_1d=False))
train_cfg = dict(type='RefSegTrainLoop', max_iters=1200, val_interval=600)
val_cfg = dict()
test_cfg = dict(type='RefSegTestLoop', exchanged=True)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.02, begin=50, end=1200, by_epoch=False)]
