# The response loss beside the dense loss.
# python tools/train.py projects/plus_recipe/configs/response.py
_base_ = '../../../configs/synthrs_tiny.py'
train_dataloader = dict(dataset=dict(other_objects=True))
model = dict(
    losses=dict(response=dict(type='ResponseLoss', centre=0.2, background=0.5, negatives=2.0))
)
