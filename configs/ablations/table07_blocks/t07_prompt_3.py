# Table VII: prompts 3 (chosen here).
# python tools/train.py configs/ablations/table07_blocks/t07_prompt_3.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(prompt_blocks=3))
