# All four variants together.
# python tools/train.py projects/plus_recipe/configs/all.py
_base_ = './response.py'
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage'),
            dict(type='LoadMask'),
            dict(type='RandomSymmetry'),
            dict(type='RandomRewording'),
            dict(type='PackRefSegInputs'),
        ]
    )
)
model = dict(
    prompter=dict(interaction=dict(image_scores=True)),
    losses=dict(attention=dict(type='AttentionLoss', loss_weight=0.05)),
)
