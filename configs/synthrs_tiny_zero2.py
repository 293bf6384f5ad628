# synthrs_tiny with the paper's strategy.
# python tools/train.py configs/synthrs_tiny_zero2.py
_base_ = ['_base_/from_towers.py', '_base_/models/rsrefseg2_tiny.py', '_base_/datasets/synthrs.py',
          '_base_/schedules/tiny_from_towers.py', '_base_/strategies/zero2_bf16.py']
