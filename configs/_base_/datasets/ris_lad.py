# RIS-LAD: pictures of low-flying drones. data/README.md says where to put them.
_base_ = './triplets.py'
dataset = dict(type='RISLAD', data_root='{{$RSREFSEG2_DATA:data}}/ris_lad')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
