# Patches compare themselves after they have read the text (Eq. 5 lacks it).
# python tools/train.py projects/plus_recipe/configs/patches.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(prompter=dict(interaction=dict(patch_attention=True)))
optim_wrapper = dict(
    paramwise_cfg=dict(
        rates={
            f'prompter.{order}.blocks.{block}.patch_attn.': 1.0
            for order in ('first_order', 'second_order')
            for block in (0, 1)
        }
    )
)
