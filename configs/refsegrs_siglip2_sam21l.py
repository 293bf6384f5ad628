# Table II: python tools/train.py configs/refsegrs_siglip2_sam21l.py
_base_ = ['_base_/default_runtime.py', '_base_/models/rsrefseg2.py', '_base_/datasets/refsegrs.py',
          '_base_/schedules/adamw_cosine_300e.py', '_base_/strategies/zero2_bf16.py']
