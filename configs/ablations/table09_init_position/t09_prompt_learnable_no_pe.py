# Table IX: Prompt, PE ✗, learnable.
# python tools/train.py configs/ablations/table09_init_position/t09_prompt_learnable_no_pe.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(sparse=dict(pe='zero')))
