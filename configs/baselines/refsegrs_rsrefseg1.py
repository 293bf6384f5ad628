# RSRefSeg (arXiv 2501.06809), size L, with the recipe of its code (github.com/KyanChen/RSRefSeg).
# python tools/train.py configs/baselines/refsegrs_rsrefseg1.py
_base_ = ['../_base_/default_runtime.py', '../_base_/models/rsrefseg1.py',
          '../_base_/datasets/refsegrs.py', '../_base_/schedules/adamw_cosine_200e.py',
          '../_base_/strategies/zero2_bf16.py']
