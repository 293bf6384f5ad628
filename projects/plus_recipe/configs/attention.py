# A loss on where the image reads the text (Eq. 5).
# python tools/train.py projects/plus_recipe/configs/attention.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(
    prompter=dict(interaction=dict(image_scores=True)),
    losses=dict(attention=dict(type='AttentionLoss', loss_weight=0.05)),
)
