# Table IX: visual PE sine (chosen here).
# python tools/train.py configs/ablations/table09_init_position/t09_visual_pe_sine.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(visual_pe='sine'))
