# RSRefSeg 2 without any pretraining, its towers trained whole, as LAVT's are: the method under a baseline's terms.
# python tools/train.py configs/baselines/synthrs_rsrefseg2_scratch_tiny.py
_base_ = ['../_base_/iter_runtime.py', '../_base_/models/rsrefseg2_tiny.py',
          '../_base_/datasets/synthrs.py', '../_base_/schedules/adamw_cosine_tiny.py',
          '../_base_/strategies/single.py']
model = dict(
    init='random',
    siglip=dict(trainable=True, vision_lora=None, text_lora=None),
    sam=dict(trainable=True, lora=None))
