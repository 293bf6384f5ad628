# RISBench: 26300 / 10013 / 16158 triplets. data/README.md says where to put them.
_base_ = './triplets.py'
dataset = dict(type='RISBench', data_root='{{$RSREFSEG2_DATA:data}}/risbench')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
