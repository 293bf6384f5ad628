# The cascade without L_ortho and L_samp: what the single stage lacks taken from it, too.
# python tools/train.py configs/where/cascade_no_nce.py
_base_ = '../synthrs_tiny.py'
model = dict(losses=dict(ortho=None, sample=None))
