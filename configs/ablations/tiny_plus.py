# The † row with the best tiny recipe: the parent of `tools/ablate.py TABLE --scale tiny_plus`.
# python tools/train.py configs/ablations/tiny_plus.py
_base_ = '../synthrs_plus.py'
# L_dense as strong as in the rows of the tiny scale, and the plain mean over the symmetries.
model = dict(
    sam=dict(lora=dict(r=32)), losses=dict(seg=dict(dice=None), dense=dict(loss_weight=8.0)),
    test_shift=0.0, test_agreement=0.0)
