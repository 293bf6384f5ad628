# RemoteSAM-270K: triplets made by a pipeline. data/README.md says where to put them.
_base_ = './triplets.py'
dataset = dict(type='RemoteSAM270K', data_root='{{$RSREFSEG2_DATA:data}}/remotesam')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
