# Tiny towers on RRSIS-D's files, or on a small copy of them: $RSREFSEG2_DATA/rrsisd.
# python tools/train.py configs/rrsisd_tiny.py
_base_ = ['_base_/iter_runtime.py', '_base_/models/rsrefseg2_tiny.py', '_base_/datasets/rrsisd.py',
          '_base_/schedules/adamw_cosine_tiny.py', '_base_/strategies/single.py']
