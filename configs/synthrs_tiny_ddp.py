# synthrs_tiny, one process per device.
# python tools/train.py configs/synthrs_tiny_ddp.py
_base_ = ['_base_/from_towers.py', '_base_/models/rsrefseg2_tiny.py', '_base_/datasets/synthrs.py',
          '_base_/schedules/tiny_from_towers.py', '_base_/strategies/ddp.py']
