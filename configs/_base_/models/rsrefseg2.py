# Sec. IV-C.1: the full model, with every default of the paper.
model = dict(
    type='RSRefSeg2',
    init='pretrained',  # 'random': the same architectures without a download
    siglip=dict(checkpoint='google/siglip2-so400m-patch16-512',
                vision_lora=dict(r=16), text_lora=dict(r=16)),
    sam=dict(checkpoint='facebook/sam2.1-hiera-large', lora=dict(r=16)),
    prompter=dict(
        type='CascadedPrompter',  # by itself n_t=3 and decomposition_blocks=2
        n_p=9, interaction_blocks=2, prompt_blocks=2, inner=512, heads=8, mlp_hidden=512,
        visual_position='query_key', dense=dict()),
    losses=dict(
        seg=dict(type='SegmentationLoss',
                 ce=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
                 dice=dict(type='mmdet.DiceLoss', naive_dice=True, loss_weight=1.0)),
        ortho=dict(type='OrthogonalLoss', loss_weight=0.5),
        sample=dict(type='SampleContrastLoss', loss_weight=0.5),
        dense=None,     # dict(type='DenseLoss')
        spatial=None))  # dict(type='SpatialLoss', kind='ce' or 'mil')
