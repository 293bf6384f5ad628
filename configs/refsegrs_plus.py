# On top of the paper's recipe; not trained at full size: python tools/train.py configs/refsegrs_plus.py
_base_ = ['_base_/default_runtime.py', '_base_/models/rsrefseg2_plus.py', '_base_/datasets/refsegrs.py',
          '_base_/schedules/adamw_cosine_300e.py', '_base_/strategies/zero2_bf16.py']
