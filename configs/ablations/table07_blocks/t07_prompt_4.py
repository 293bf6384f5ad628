# Table VII: Prompt 4 blocks.
# python tools/train.py configs/ablations/table07_blocks/t07_prompt_4.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(prompt_blocks=4))
