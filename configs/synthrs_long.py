# Where, learned: the tiny towers trained whole, longer than the quickstart.
# python tools/train.py configs/synthrs_long.py
_base_ = './synthrs_tiny.py'
model = dict(
    siglip=dict(checkpoint='work_dirs/towers/siglip', vision_lora=None, text_lora=None,
                trainable=True),
    sam=dict(lora=None, trainable=True))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
val_evaluator = dict(_delete_=True, type='SynthRSMetric', split='val', baselines=False,
                     data_root='{{$RSREFSEG2_DATA:data}}/synthrs')
train_cfg = dict(max_iters=8000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.02, begin=50, end=8000, by_epoch=False)]
