# Eight images a step instead of four.
# python tools/train.py configs/where/batch_48.py
_base_ = '../synthrs_long.py'
train_dataloader = dict(batch_size=48)
