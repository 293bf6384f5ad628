# LGCE (arXiv 2306.08625): LAVT with a language-guided enhancement, whose equations are ours. The paper
# builds on LAVT's code; its own recipe was not found, so it is LAVT's.
# torchrun --nproc-per-node 4 tools/train.py configs/baselines/risbench_lgce.py --launcher pytorch
_base_ = './risbench_lavt.py'
model = dict(enhancement=dict(inner=512, heads=8))
