# LAVT from scratch on SynthRS, under the quickstart's budget.
# python tools/train.py configs/baselines/synthrs_lavt_tiny.py
_base_ = ['../_base_/iter_runtime.py', '../_base_/models/lavt_tiny.py',
          '../_base_/datasets/synthrs.py', '../_base_/schedules/adamw_cosine_tiny.py',
          '../_base_/strategies/single.py']
