# What the experiments on where are compared with: towers trained whole, 16 images x 6 sentences.
# The tower by the tool of revision f2bfd08:
# python tools/pretrain_tiny_towers.py siglip --steps 2500 --image-size 128 --even \
#     --positions random --patches random --out work_dirs/towers/where
# python tools/train.py projects/localisation_study/configs/base.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(
    siglip=dict(
        checkpoint='work_dirs/towers/where', vision_lora=None, text_lora=None, trainable=True
    ),
    sam=dict(lora=None, trainable=True),
)
train_dataloader = dict(batch_size=96)
optim_wrapper = dict(optimizer=dict(lr=1.5e-3), paramwise_cfg=dict(_delete_=True, decay_1d=False))
val_evaluator = dict(
    _delete_=True,
    type='ObjectHitMetric',
    split='val',
    baselines=False,
    data_root='{{$RSREFSEG2_DATA:data}}/synthrs',
)
train_cfg = dict(max_iters=1800, val_interval=300)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.02, begin=50, end=1800, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=1800, save_best=None), logger=dict(interval=100))
