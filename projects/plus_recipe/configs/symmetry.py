# Training pictures turned and mirrored, their sentences rewritten.
# python tools/train.py projects/plus_recipe/configs/symmetry.py
_base_ = '../../../configs/synthrs_tiny.py'
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage'),
            dict(type='LoadMask'),
            dict(type='RandomSymmetry'),
            dict(type='PackRefSegInputs'),
        ]
    )
)
