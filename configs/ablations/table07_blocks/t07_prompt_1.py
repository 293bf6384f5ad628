# Table VII: Prompt 1 blocks.
# python tools/train.py configs/ablations/table07_blocks/t07_prompt_1.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(prompt_blocks=1))
