# Table VII: Prompt 6 blocks.
# python tools/train.py configs/ablations/table07_blocks/t07_prompt_6.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(prompt_blocks=6))
