# Tiny towers on data of your own in RISBench's layout: $RSREFSEG2_DATA/mine, see docs/own_data.md.
# python tools/train.py configs/mine_tiny.py
_base_ = ['_base_/iter_runtime.py', '_base_/models/rsrefseg2_tiny.py', '_base_/datasets/risbench.py',
          '_base_/schedules/adamw_cosine_tiny.py', '_base_/strategies/single.py']
dataset = dict(data_root='{{$RSREFSEG2_DATA:data}}/mine')
loader = dict(batch_size=14, num_workers=0, persistent_workers=False, dataset=dataset)
train_dataloader = loader
val_dataloader = loader
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dataset)
