# NWPU-Refer: sentences of one target, several or none. data/README.md says where to put them.
_base_ = './triplets.py'
dataset = dict(type='NWPURefer', data_root='{{$RSREFSEG2_DATA:data}}/nwpu_refer')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_evaluator = dict(protocol='generalised')
test_evaluator = dict(protocol='generalised')
