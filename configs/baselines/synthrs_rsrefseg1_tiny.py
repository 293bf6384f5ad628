# RSRefSeg (arXiv 2501.06809) with the quickstart's tiny towers, data and budget, and its loss on the mask.
# python tools/train.py configs/baselines/synthrs_rsrefseg1_tiny.py
_base_ = ['../_base_/iter_runtime.py', '../_base_/models/rsrefseg2_tiny.py',
          '../_base_/datasets/synthrs.py', '../_base_/schedules/adamw_cosine_tiny.py',
          '../_base_/strategies/single.py']
model = dict(
    prompter=dict(_delete_=True, type='AttnPrompter', down_spatial=1, dense=dict()),
    losses=dict(ortho=None, sample=None, dense=None))
optim_wrapper = dict(paramwise_cfg=dict(rates={'encoder.': 0.05}))  # as in the quickstart
