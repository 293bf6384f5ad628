# synthrs_tiny with FSDP2.
# python tools/train.py configs/synthrs_tiny_fsdp.py
_base_ = ['_base_/iter_runtime.py', '_base_/models/rsrefseg2_tiny.py', '_base_/datasets/synthrs.py',
          '_base_/schedules/adamw_cosine_tiny.py', '_base_/strategies/fsdp2.py']
