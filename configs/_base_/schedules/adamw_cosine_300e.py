# Sec. IV-C.2: AdamW 1e-4, linear warm-up and cosine, 300 epochs, global batch 64.
# Warm-up length, floor, decay and clipping: the release's, where the paper is silent.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05, fused=True), clip_grad=dict(max_norm=3.0),
    constructor='TrainableOptimWrapperConstructor')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=5, by_epoch=True,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=5, end=300, T_max=295, by_epoch=True,
         convert_to_iter_based=True)]
train_cfg = dict(type='RefSegTrainLoop', max_epochs=300, val_interval=10)
val_cfg = dict()
test_cfg = dict(type='RefSegTestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=64)
