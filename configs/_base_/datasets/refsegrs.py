# RefSegRS: 2172 / 431 / 1817 triplets. data/README.md says where to put them.
_base_ = './triplets.py'
dataset = dict(type='RefSegRS', data_root='{{$RSREFSEG2_DATA:data}}/refsegrs')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
