# The embedded default: tiny towers, generated scenes, a CPU, minutes.
# python tools/train.py configs/synthrs_tiny.py
_base_ = ['_base_/from_towers.py', '_base_/models/rsrefseg2_tiny.py', '_base_/datasets/synthrs.py',
          '_base_/schedules/tiny_from_towers.py', '_base_/strategies/single.py']
