# RRSISD: 12181 / 1740 / 3481 triplets. data/README.md says where to put them.
_base_ = './triplets.py'
dataset = dict(type='RRSISD', data_root='{{$RSREFSEG2_DATA:data}}/rrsisd')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
