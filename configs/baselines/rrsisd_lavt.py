# LAVT (arXiv 2112.02244) with its own recipe, which its base files give with their sources; 4 devices x 8.
# torchrun --nproc-per-node 4 tools/train.py configs/baselines/rrsisd_lavt.py --launcher pytorch
_base_ = ['../_base_/default_runtime.py', '../_base_/models/lavt.py', '../_base_/datasets/rrsisd.py',
          '../_base_/schedules/adamw_poly_40e.py', '../_base_/strategies/ddp.py']
