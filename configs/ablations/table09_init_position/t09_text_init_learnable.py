# Table IX: text init learnable (chosen here).
# python tools/train.py configs/ablations/table09_init_position/t09_text_init_learnable.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(decomposition=dict(init='learnable')))
