# The public release on RefSegRS: python tools/test.py configs/release/refsegrs.py OUT
# There it trains for 600 epochs, with twice the rate.
_base_ = './rrsisd.py'
dataset = dict(type='RefSegRS', data_root='{{$RSREFSEG2_DATA:data}}/refsegrs')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
train_cfg = dict(max_epochs=600)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=5, by_epoch=True,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=60, end=600, T_max=1080,
         by_epoch=True)]
test_evaluator = dict(category_beside=None, beside={
    '_delete_': True,
    'the paper, Table II': {
        'Pr@0.5': 88.22, 'Pr@0.6': 82.99, 'Pr@0.7': 73.97, 'Pr@0.8': 60.92, 'Pr@0.9': 34.4,
        'cIoU': 81.24, 'gIoU': 77.39},
    'the released weights, a third party': {'cIoU': 81.21, 'gIoU': 77.36, 'Pr@0.5': 88.11}})
