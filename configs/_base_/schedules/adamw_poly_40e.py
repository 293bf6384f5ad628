# LAVT's: AdamW 5e-5, weight decay 0.01, 40 epochs, global batch 32 (arXiv 2112.02244), polynomial
# decay of power 0.9 in every iteration (its code). Norms and biases do not decay (its code).
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=5e-5, weight_decay=0.01, fused=True),
    constructor='TrainableOptimWrapperConstructor', paramwise_cfg=dict(decay_1d=False))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=40, by_epoch=True,
         convert_to_iter_based=True)]
train_cfg = dict(type='RefSegTrainLoop', max_epochs=40, val_interval=1)
val_cfg = dict()
test_cfg = dict(type='RefSegTestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=32)
