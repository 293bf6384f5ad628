# The quickstart's model, trained for longer: 2,000 iterations instead of 1,200.
# python tools/train.py configs/synthrs_long.py
_base_ = './synthrs_tiny.py'
optim_wrapper = dict(optimizer=dict(lr=1e-3))
val_evaluator = dict(_delete_=True, type='ObjectHitMetric', split='val', baselines=False,
                     data_root='{{$RSREFSEG2_DATA:data}}/synthrs')
train_cfg = dict(max_iters=2000, val_interval=500)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.02, begin=50, end=2000, by_epoch=False)]
