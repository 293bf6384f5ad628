"""RefSegRS: 2172 / 431 / 1817 triplets; data/README.md says where to put them."""
data_root = '{{$RSREFSEG2_DATA:data}}/refsegrs'

pipeline = [
    dict(type='LoadImage'),
    dict(type='LoadMask'),
    dict(type='PackRefSegInputs'),
]

# 8 ranks x 8 sentences = the paper's global batch of 64
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='rsrefseg2.unique_images_collate'),
    dataset=dict(type='RefSegRS', data_root=data_root, split='train', pipeline=pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_sampler=dict(type='ImageOrderBatchSampler'),
    collate_fn=dict(type='rsrefseg2.unique_images_collate'),
    dataset=dict(type='RefSegRS', data_root=data_root, split='val', pipeline=pipeline))
test_dataloader = dict(
    batch_size=8,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    batch_sampler=dict(type='ImageOrderBatchSampler'),
    collate_fn=dict(type='rsrefseg2.unique_images_collate'),
    dataset=dict(type='RefSegRS', data_root=data_root, split='test', pipeline=pipeline))

val_evaluator = dict(type='RefSegMetric')
test_evaluator = val_evaluator
