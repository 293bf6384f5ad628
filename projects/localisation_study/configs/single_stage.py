# No cascade: one interaction of v with the words (Table X). No t2, so no L_ortho and no NCE-t2-v.
# python tools/train.py projects/localisation_study/configs/single_stage.py
_base_ = './base.py'
model = dict(prompter=dict(type='SingleStagePrompter'), losses=dict(ortho=None, sample=None))
