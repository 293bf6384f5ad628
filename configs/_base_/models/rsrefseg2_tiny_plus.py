# Towers of 256 pixels, pretrained on SynthRS and on photographs of NWPU VHR-10 (synthrs/towers/README.md).
_base_ = './rsrefseg2_tiny.py'
model = dict(
    siglip=dict(checkpoint='synthrs/towers/siglip_256'),
    sam=dict(checkpoint='synthrs/towers/sam2_256'))
