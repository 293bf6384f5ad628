# Towers of a million parameters in all, pretrained on SynthRS (tools/pretrain_tiny_towers.py).
_base_ = './rsrefseg2.py'
model = dict(
    siglip=dict(checkpoint='synthrs/towers/siglip'),
    sam=dict(checkpoint='synthrs/towers/sam2'),
    prompter=dict(inner=96, heads=4, mlp_hidden=192, visual_position='add'),
    # Tiny towers need the dense prompt supervised; the paper's configs leave this off.
    losses=dict(dense=dict(_delete_=True, type='DenseLoss', loss_weight=8.0)))
