# LAVT on SynthRS, under the quickstart's budget, from towers that know its pictures and words.
# python tools/train.py configs/baselines/synthrs_lavt_tiny.py
_base_ = ['../_base_/iter_runtime.py', '../_base_/models/lavt_tiny.py',
          '../_base_/datasets/synthrs.py', '../_base_/schedules/adamw_cosine_tiny.py',
          '../_base_/strategies/single.py']
# 300 iterations, one seed: gIoU on val 39.0, with the full rate 28.7.
optim_wrapper = dict(paramwise_cfg=dict(rates={'swin.': 0.1, 'bert.': 0.1}))
