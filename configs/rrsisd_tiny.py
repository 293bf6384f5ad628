# Tiny towers on RRSIS-D's files, or on a small copy of them: $RSREFSEG2_DATA/rrsisd.
# python tools/train.py configs/rrsisd_tiny.py
_base_ = ['_base_/iter_runtime.py', '_base_/models/rsrefseg2_tiny.py', '_base_/datasets/rrsisd.py',
          '_base_/schedules/adamw_cosine_tiny.py', '_base_/strategies/single.py']
loader = dict(batch_size=14, num_workers=0, persistent_workers=False)
train_dataloader = loader
val_dataloader = loader
test_dataloader = dict(num_workers=0)
