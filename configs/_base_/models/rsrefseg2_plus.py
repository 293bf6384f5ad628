# The paper's model with what helped the tiny one (projects/plus_recipe/README.md).
_base_ = './rsrefseg2.py'
model = dict(
    losses=dict(dense=dict(_delete_=True, type='DenseLoss', loss_weight=1.0)),
    # the test averages over 8 flipped, turned and moved pictures, as they agree
    test_symmetries='all', test_shift=0.5, test_agreement=8.0)
