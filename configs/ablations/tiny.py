# The † row with tiny towers on SynthRS: the parent of `tools/ablate.py TABLE --scale tiny`.
# python tools/train.py configs/ablations/tiny.py
# The start values and rates of the † row; configs/synthrs_tiny.py starts from its towers.
_base_ = ['../_base_/iter_runtime.py', '../_base_/models/rsrefseg2_tiny.py',
          '../_base_/datasets/synthrs.py', '../_base_/schedules/adamw_cosine_tiny.py',
          '../_base_/strategies/single.py']
model = dict(sam=dict(lora=dict(r=32)), losses=dict(seg=dict(dice=None)))
