# 1,000 scenes instead of 8,000.
# python tools/train.py projects/localisation_study/configs/scenes_1000.py
_base_ = '../../../configs/synthrs_tiny.py'
train_dataloader = dict(dataset=dict(indices=6000))  # sentences, six a scene
