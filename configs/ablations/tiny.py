# The † row with tiny towers on SynthRS: the parent of `tools/ablate.py TABLE --scale tiny`.
# python tools/train.py configs/ablations/tiny.py
_base_ = '../synthrs_tiny.py'
model = dict(sam=dict(lora=dict(r=32)), losses=dict(seg=dict(dice=None)))
