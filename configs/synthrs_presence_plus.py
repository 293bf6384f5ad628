# The same with the towers and the turned pictures of synthrs_plus.py.
# python tools/train.py configs/synthrs_presence_plus.py
_base_ = 'synthrs_presence.py'
model = dict(
    siglip=dict(checkpoint='synthrs/towers/siglip_256'), sam=dict(checkpoint='synthrs/towers/sam2_256'))
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImage'), dict(type='LoadMask'),
    dict(type='AbsentSentences', data_root={{_base_.data_root}}, prob=0.1,
         kinds=['exchange', 'category', 'attribute', 'direction']),
    dict(type='RandomSymmetry'), dict(type='PackRefSegInputs')]))
