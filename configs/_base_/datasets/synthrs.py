# SynthRS (tools/synthrs_generate.py) in RRSIS-D's layout, several sentences an image.
_base_ = './triplets.py'
data_root = '{{$RSREFSEG2_DATA:data}}/synthrs'
dataset = dict(type='SynthRS', data_root=data_root + '/rrsisd')
# No worker processes: small images load in well under a millisecond.
loader = dict(batch_size=24, num_workers=0, persistent_workers=False, dataset=dataset)
# 4 images x 6 sentences: the image towers run once for the six.
train_dataloader = dict(
    **loader,
    batch_sampler=dict(_delete_=True, type='ImageGroupBatchSampler', sentences_per_image=6))
val_dataloader = loader
test_dataloader = loader
test_evaluator = dict(_delete_=True, type='ObjectHitMetric', data_root=data_root)
