"""SynthRS, made by tools/synthrs_generate.py: RRSIS-D's layout, several sentences per image."""
data_root = '{{$RSREFSEG2_DATA:data}}/synthrs'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackRefSegInputs'),
]

# 4 images x 6 sentences: the image towers run once for the six. No worker processes: small images
# load in well under a millisecond.
train_dataloader = dict(
    batch_size=24,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='ImageGroupBatchSampler', sentences_per_image=6),
    collate_fn=dict(type='rsrefseg2.unique_images_collate'),
    dataset=dict(type='RRSISD', data_root=data_root + '/rrsisd', split='train', classes=None,
                 pipeline=pipeline))
val_dataloader = dict(
    batch_size=24,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_sampler=dict(type='ImageOrderBatchSampler'),
    collate_fn=dict(type='rsrefseg2.unique_images_collate'),
    dataset=dict(type='RRSISD', data_root=data_root + '/rrsisd', split='val', classes=None,
                 pipeline=pipeline))
test_dataloader = dict(
    batch_size=24,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_sampler=dict(type='ImageOrderBatchSampler'),
    collate_fn=dict(type='rsrefseg2.unique_images_collate'),
    dataset=dict(type='RRSISD', data_root=data_root + '/rrsisd', split='test', classes=None,
                 pipeline=pipeline))

val_evaluator = dict(type='RefSegMetric')
test_evaluator = dict(type='SynthRSMetric', data_root=data_root)
