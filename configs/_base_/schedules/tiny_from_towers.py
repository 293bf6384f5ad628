# For towers that know where on these pictures: it is kept, not learned again (projects/localisation_study/README.md).
_base_ = './adamw_cosine_tiny.py'
optim_wrapper = dict(paramwise_cfg=dict(
    rates={'encoder.': 0.05, 'prompter.': 0.05, 'prompter.sparse.': 1.0}))
