# Table IX: Interac., PE ✓, sine.
# python tools/train.py configs/ablations/table09_init_position/t09_interaction_sine.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(visual_pe='sine'))
