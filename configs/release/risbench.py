# The public release on RISBench: python tools/test.py configs/release/risbench.py OUT
_base_ = './rrsisd.py'
dataset = dict(type='RISBench', data_root='{{$RSREFSEG2_DATA:data}}/risbench')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
test_evaluator = dict(category_beside=None, beside={
    '_delete_': True,
    'the paper, Table V': {
        'Pr@0.5': 79.08, 'Pr@0.6': 75.36, 'Pr@0.7': 70.62, 'Pr@0.8': 62.75, 'Pr@0.9': 48.75,
        'cIoU': 74.77, 'gIoU': 72.57}})
