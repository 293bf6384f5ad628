# Tiny towers on real triplets of NWPU VHR-10, made by rule from its COCO instance file:
# python tools/data/convert.py coco instances.json --images images --to rrsisd --out data/nwpu
# python tools/train.py configs/nwpu_tiny.py
_base_ = ['_base_/iter_runtime.py', '_base_/models/rsrefseg2_tiny.py', '_base_/datasets/synthrs.py',
          '_base_/schedules/adamw_cosine_tiny.py', '_base_/strategies/single.py']
data_root = '{{$RSREFSEG2_DATA:data}}/nwpu'
dataset = dict(type='ReferDataset', data_root=data_root,
               made_by='tools/data/convert.py coco, see configs/nwpu_tiny.py')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
test_evaluator = dict(data_root=data_root + '/scenes')
