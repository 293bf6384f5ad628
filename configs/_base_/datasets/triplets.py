# What every benchmark shares: how a triplet is read, batched and scored.
pipeline = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]
loader = dict(batch_size=8,  # 8 ranks x 8 sentences = the paper's global batch of 64
              num_workers=4, collate_fn=dict(type='rsrefseg2.unique_images_collate'))
# Sentences of one image come together.
in_order = dict(sampler=dict(type='DefaultSampler', shuffle=False),
                batch_sampler=dict(type='ImageOrderBatchSampler'))

train_dataloader = dict(
    **loader, persistent_workers=True, sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='ShuffledBatchSampler'),
    dataset=dict(split='train', pipeline=pipeline))
val_dataloader = dict(
    **loader, **in_order, persistent_workers=True, dataset=dict(split='val', pipeline=pipeline))
test_dataloader = dict(**loader, **in_order, dataset=dict(split='test', pipeline=pipeline))

val_evaluator = dict(type='RefSegMetric')
test_evaluator = dict(type='RefSegMetric')
