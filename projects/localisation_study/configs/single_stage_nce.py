# No cascade, with the contrast of t_sent and v in place of NCE-t2-v.
# python tools/train.py projects/localisation_study/configs/single_stage_nce.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(
    prompter=dict(type='SingleStagePrompter'), losses=dict(ortho=None, sample=dict(text='t_sent'))
)
