# The † row with the best tiny recipe: the parent of `tools/ablate.py TABLE --scale tiny_plus`.
# python tools/train.py configs/ablations/tiny_plus.py
_base_ = '../synthrs_plus.py'
model = dict(sam=dict(lora=dict(r=32)), losses=dict(seg=dict(dice=None)), test_symmetries='all')
