# LAVT with towers pretrained on SynthRS as the tiny SigLIP is (synthrs/towers/README.md).
# The loss is the quickstart's on the mask (the paper's has no Dice).
model = dict(
    type='LAVT',
    swin=dict(checkpoint='synthrs/towers/lavt/swin', drop_path=0.0),
    bert=dict(checkpoint='synthrs/towers/lavt/bert', max_length=24),
    losses=dict(seg=dict(
        type='SegmentationLoss',
        ce=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        dice=dict(type='mmdet.DiceLoss', naive_dice=True, loss_weight=1.0))))
