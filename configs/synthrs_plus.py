# The quickstart's training with the larger towers.
# python tools/train.py configs/synthrs_plus.py
_base_ = ['_base_/from_towers.py', '_base_/models/rsrefseg2_tiny_plus.py', '_base_/datasets/synthrs.py',
          '_base_/schedules/tiny_from_towers.py', '_base_/strategies/single.py']
model = dict(losses=dict(dense=dict(loss_weight=1.0)))
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImage'), dict(type='LoadMask'), dict(type='RandomSymmetry'), dict(type='PackRefSegInputs')]))
