# Training sentences in other words.
# python tools/train.py projects/plus_recipe/configs/rewording.py
_base_ = '../../../configs/synthrs_tiny.py'
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage'),
            dict(type='LoadMask'),
            dict(type='RandomRewording'),
            dict(type='PackRefSegInputs'),
        ]
    )
)
