# EarthReason: questions, some without a target. data/README.md says where to put them.
_base_ = './triplets.py'
dataset = dict(type='EarthReason', data_root='{{$RSREFSEG2_DATA:data}}/earthreason')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_evaluator = dict(protocol='generalised')
test_evaluator = dict(protocol='generalised')
