# RMSIN (arXiv 2312.12470): 40 epochs of AdamW, 3e-5, weight decay 0.01, polynomial decay (the paper);
# 480 x 480, the classes' weights, 8 heads of keys of 32 channels, 4 rotated kernels (its code). The batch
# was not found: LAVT's.
# torchrun --nproc-per-node 4 tools/train.py configs/baselines/refsegrs_rmsin.py --launcher pytorch
_base_ = './refsegrs_lavt.py'
model = dict(intra_scale=dict(), cross_scale=dict(heads=8, key_width=32),
             decoder=dict(rotated_kernels=4))
optim_wrapper = dict(optimizer=dict(lr=3e-5))
