# The quickstart's training with "there is none": SAM's IoU and object-score heads say how good and whether.
# python tools/synthrs_generate.py --levels attribute position relation none --out data/synthrs_none
# python tools/train.py configs/synthrs_presence.py
_base_ = 'synthrs_tiny.py'
data_root = '{{$RSREFSEG2_DATA:data}}/synthrs_none'
dataset = dict(data_root=data_root + '/rrsisd', no_target=True)
model = dict(
    sam=dict(score_heads=['iou', 'object']), with_target=['seg', 'sample'], presence_threshold=0.5,
    losses=dict(iou=dict(type='PredictedIoULoss'), presence=dict(type='PresenceLoss')))
# 4 images x 8 sentences: 6 with a target, as in the quickstart, of which AbsentSentences takes a tenth.
train_dataloader = dict(
    batch_size=32, batch_sampler=dict(sentences_per_image=8),
    dataset=dict(**dataset, pipeline=[
        dict(type='LoadImage'), dict(type='LoadMask'),
        dict(type='AbsentSentences', data_root=data_root, prob=0.1,
             kinds=['exchange', 'category', 'attribute', 'direction']), dict(type='PackRefSegInputs')]))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_evaluator = dict(protocol='generalised')
test_evaluator = dict(data_root=data_root, protocol='generalised')
