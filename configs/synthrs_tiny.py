# The embedded default: tiny towers, generated scenes, a CPU, minutes.
# python tools/train.py configs/synthrs_tiny.py
_base_ = ['_base_/default_runtime.py', '_base_/models/rsrefseg2.py', '_base_/datasets/synthrs.py',
          '_base_/strategies/single.py']
model = dict(
    siglip=dict(checkpoint='synthrs/towers/siglip'),
    sam=dict(checkpoint='synthrs/towers/sam2'),
    prompter=dict(inner=96, heads=4, mlp_hidden=192, visual_position='add'),
    # Tiny towers need the dense prompt supervised; the paper's configs leave this off.
    losses=dict(dense=dict(_delete_=True, type='DenseLoss')))

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=1.0), constructor='TrainableOptimWrapperConstructor',
    paramwise_cfg=dict(decay_1d=False))
max_iters = 3000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters // 3)
val_cfg = dict()
test_cfg = dict(type='RefSegTestLoop', exchanged=True)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.02, begin=50, end=max_iters, by_epoch=False)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=max_iters // 3))
log_processor = dict(by_epoch=False)
