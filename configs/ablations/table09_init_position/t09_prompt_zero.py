# Table IX: Prompt, PE ✓, zero.
# python tools/train.py configs/ablations/table09_init_position/t09_prompt_zero.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(sparse=dict(init='zero')))
