# The shipped demo: generated scenes and photographs, one model for both.
# Needs data/synthrs (tools/synthrs_generate.py) and data/nwpu (as for nwpu_tiny.py).
# python tools/train.py configs/demo_tiny.py
_base_ = './synthrs_plus.py'
# whole_view: the photographs, which one look segments better than a closer one (gIoU 41.7, 36.9).
model = dict(losses=dict(dense=dict(loss_weight=8.0)), whole_view=2048)
# 800 scenes and 357 photographs: about as many batches of each.
train_dataloader = dict(dataset=dict(
    _delete_=True, type='JoinedDataset', split='train', pipeline=[
        dict(type='LoadImage'), dict(type='LoadMask'), dict(type='RandomSymmetry'), dict(type='PackRefSegInputs')],
    datasets=dict(
        synthrs=dict(type='SynthRS', data_root='{{$RSREFSEG2_DATA:data}}/synthrs/rrsisd', indices=4800),
        nwpu=dict(type='ReferDataset', data_root='{{$RSREFSEG2_DATA:data}}/nwpu',
                  made_by='tools/data/convert.py coco, see configs/nwpu_tiny.py'))))
train_cfg = dict(max_iters=2000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.02, begin=50, end=2000, by_epoch=False)]
