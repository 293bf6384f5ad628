# The public release on RISBench: python tools/test.py configs/release/risbench.py OUT
_base_ = './rrsisd.py'
dataset = dict(type='RISBench', data_root='{{$RSREFSEG2_DATA:data}}/risbench')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
test_evaluator = dict(beside={
    '_delete_': True,
    'the paper, Table V': {'cIoU': 74.77, 'gIoU': 72.57, 'Pr@0.5': 79.08}})
