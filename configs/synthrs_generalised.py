# The quickstart's training with sentences that name several objects, or nothing that is there:
# python tools/synthrs_generate.py --levels attribute position relation several none --out data/synthrs_generalised
# python tools/train.py configs/synthrs_generalised.py
_base_ = 'synthrs_tiny.py'
data_root = '{{$RSREFSEG2_DATA:data}}/synthrs_generalised'
dataset = dict(data_root=data_root + '/rrsisd', no_target=True)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_evaluator = dict(protocol='generalised')
test_evaluator = dict(data_root=data_root, protocol='generalised')
