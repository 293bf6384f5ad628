# The whole config of a published model: README.md beside it says how to use it.
custom_hooks = [
    dict(type='PreemptionHook'),
    dict(type='TrackerHook'),
    dict(type='ProgressBarHook'),
    dict(n=4, type='PanelHook'),
    dict(type='MaskWarningHook'),
    dict(type='TruncatedSentenceHook'),
]
default_hooks = dict(
    checkpoint=dict(
        by_epoch=False,
        interval=600,
        max_keep_ckpts=2,
        rule='greater',
        save_best='gIoU',
        type='CheckpointHook'),
    logger=dict(interval=50, log_metric_by_epoch=False, type='LoggerHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    runtime_info=dict(type='RuntimeInfoHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    timer=dict(type='TimerHook'),
    tower_start=dict(type='InitPrompterFromTowersHook'))
default_scope = 'rsrefseg2'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
log_level = 'INFO'
log_processor = dict(by_epoch=False, type='LogProcessor', window_size=50)
model = dict(
    init='pretrained',
    losses=dict(
        dense=dict(loss_weight=8.0, type='DenseLoss'),
        ortho=dict(loss_weight=0.5, type='OrthogonalLoss'),
        sample=dict(loss_weight=0.5, type='SampleContrastLoss'),
        seg=dict(
            ce=dict(
                loss_weight=1.0,
                type='mmdet.CrossEntropyLoss',
                use_sigmoid=True),
            dice=dict(loss_weight=1.0, naive_dice=True, type='mmdet.DiceLoss'),
            type='SegmentationLoss'),
        spatial=None),
    prompter=dict(
        dense=dict(),
        heads=4,
        inner=96,
        interaction_blocks=2,
        mlp_hidden=192,
        n_p=9,
        prompt_blocks=2,
        type='CascadedPrompter',
        visual_position='add'),
    sam=dict(checkpoint='synthrs/towers/sam2_256', lora=dict(r=16)),
    siglip=dict(
        checkpoint='synthrs/towers/siglip_256',
        text_lora=dict(r=16),
        vision_lora=dict(r=16)),
    test_agreement=8.0,
    test_shift=0.5,
    test_symmetries='all',
    type='RSRefSeg2',
    whole_view=2048)
optim_wrapper = dict(
    clip_grad=dict(max_norm=1.0),
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(
        betas=(
            0.9,
            0.98,
        ),
        fused=True,
        lr=0.002,
        type='AdamW',
        weight_decay=0.01),
    paramwise_cfg=dict(
        decay_1d=False,
        rates=dict({
            'encoder.': 0.05,
            'prompter.': 0.05,
            'prompter.sparse.': 1.0
        })))
param_scheduler = [
    dict(begin=0, by_epoch=False, end=50, start_factor=0.01, type='LinearLR'),
    dict(
        begin=50,
        by_epoch=False,
        end=2000,
        eta_min_ratio=0.02,
        type='CosineAnnealingLR'),
]
randomness = dict(seed=0)
strategy = dict(type='SingleDeviceStrategy')
test_cfg = dict(exchanged=True, type='RefSegTestLoop')
test_dataloader = dict(
    batch_sampler=dict(type='ImageOrderBatchSampler'),
    batch_size=24,
    collate_fn=dict(type='rsrefseg2.unique_images_collate'),
    dataset=dict(
        data_root='{{$RSREFSEG2_DATA:data}}/synthrs/rrsisd',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='LoadMask'),
            dict(type='PackRefSegInputs'),
        ],
        split='test',
        type='SynthRS'),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(
    data_root='{{$RSREFSEG2_DATA:data}}/synthrs', type='ObjectHitMetric')
train_cfg = dict(max_iters=2000, type='RefSegTrainLoop', val_interval=1000)
train_dataloader = dict(
    batch_sampler=dict(sentences_per_image=6, type='ImageGroupBatchSampler'),
    batch_size=24,
    collate_fn=dict(type='rsrefseg2.unique_images_collate'),
    dataset=dict(
        datasets=dict(
            nwpu=dict(
                data_root='{{$RSREFSEG2_DATA:data}}/nwpu',
                made_by='tools/data/convert.py coco, see configs/nwpu_tiny.py',
                type='ReferDataset'),
            synthrs=dict(
                data_root='{{$RSREFSEG2_DATA:data}}/synthrs/rrsisd',
                indices=4800,
                type='SynthRS')),
        pipeline=[
            dict(type='LoadImage'),
            dict(type='LoadMask'),
            dict(type='RandomSymmetry'),
            dict(type='PackRefSegInputs'),
        ],
        split='train',
        type='JoinedDataset'),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=True, type='DefaultSampler'))
val_cfg = dict()
val_dataloader = dict(
    batch_sampler=dict(type='ImageOrderBatchSampler'),
    batch_size=24,
    collate_fn=dict(type='rsrefseg2.unique_images_collate'),
    dataset=dict(
        data_root='{{$RSREFSEG2_DATA:data}}/synthrs/rrsisd',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='LoadMask'),
            dict(type='PackRefSegInputs'),
        ],
        split='val',
        type='SynthRS'),
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = dict(type='RefSegMetric')
visualizer = dict(type='RefSegVisualizer')
