# LAVT from scratch, without weights of images or of language, at 1.7 times the quickstart model's cost of a step.
# Words are those of the quickstart's tokenizer; the loss is the quickstart's on the mask (the paper's has no Dice).
model = dict(
    type='LAVT',
    swin=dict(
        drop_path=0.0,
        checkpoint=dict(model_type='swin', image_size=192, patch_size=4, embed_dim=16,
                        depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 4], window_size=6)),
    bert=dict(
        max_length=24, tokenizer='synthrs/towers/siglip',
        checkpoint=dict(model_type='bert', vocab_size=128, hidden_size=96, intermediate_size=384,
                        num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=24,
                        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)),
    losses=dict(seg=dict(
        type='SegmentationLoss',
        ce=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        dice=dict(type='mmdet.DiceLoss', naive_dice=True, loss_weight=1.0))))
