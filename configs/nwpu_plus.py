# Photographs: real triplets of NWPU VHR-10, made by rule as for nwpu_tiny.py, with towers that know photographs.
# python tools/train.py configs/nwpu_plus.py
_base_ = ['_base_/from_towers.py', '_base_/models/rsrefseg2_tiny_plus.py', '_base_/datasets/synthrs.py',
          '_base_/schedules/tiny_from_towers.py', '_base_/strategies/single.py']
data_root = '{{$RSREFSEG2_DATA:data}}/nwpu'
dataset = dict(type='ReferDataset', data_root=data_root,
               made_by='tools/data/convert.py coco, see configs/nwpu_tiny.py')
model = dict(whole_view=2048)  # one look segments them better than a closer one: gIoU 41.7, 36.9
train_dataloader = dict(dataset=dict(**dataset, pipeline=[
    dict(type='LoadImage'), dict(type='LoadMask'), dict(type='RandomSymmetry'), dict(type='PackRefSegInputs')]))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
test_evaluator = dict(data_root=data_root + '/scenes')
