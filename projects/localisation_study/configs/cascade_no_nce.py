# The cascade without L_ortho and L_samp: what the single stage lacks taken from it, too.
# python tools/train.py projects/localisation_study/configs/cascade_no_nce.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(losses=dict(ortho=None, sample=None))
