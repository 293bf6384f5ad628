# The same with OWLv2, which reads 16 tokens:
# python tools/test.py configs/zero_shot/rrsisd_owlv2_sam21l.py
_base_ = './rrsisd_grounding_dino_sam21l.py'
model = dict(detector='google/owlv2-base-patch16-ensemble')
