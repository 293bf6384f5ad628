# A model that is tested without training: beside it comes a data set, and train_dataloader=None.
_base_ = './default_runtime.py'
val_cfg = dict()
test_cfg = dict(type='RefSegTestLoop')
strategy = dict(type='SingleDeviceStrategy')
