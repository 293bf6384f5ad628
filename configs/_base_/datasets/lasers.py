# LaSeRS: objects and their parts. data/README.md says where to put them.
_base_ = './triplets.py'
dataset = dict(type='LaSeRS', data_root='{{$RSREFSEG2_DATA:data}}/lasers')
train_dataloader = dict(dataset=dataset)
# There is no val split: training looks at test. Report the last checkpoint, not the best one.
val_dataloader = dict(dataset=dict(**dataset, split='test'))
test_dataloader = dict(dataset=dataset)
