# Towers of 256 pixels, pretrained on SynthRS and on photographs of NWPU VHR-10 (synthrs/towers/README.md).
_base_ = './rsrefseg2_tiny.py'
model = dict(
    siglip=dict(checkpoint='synthrs/towers/siglip_256'),
    sam=dict(checkpoint='synthrs/towers/sam2_256'),
    # the test averages over 8 flipped, turned and moved pictures, as they agree
    test_symmetries='all', test_shift=0.5, test_agreement=8.0)
