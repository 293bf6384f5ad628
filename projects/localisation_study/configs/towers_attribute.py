# SigLIP pretrained on sentences of the attribute level alone: it never saw where.
# By the tool of revision f2bfd08:
# python tools/synthrs_generate.py --seed 5 --scenes-train 24000 --scenes-val 100 \
#     --scenes-test 100 --levels attribute --out data/24k_attribute
# python tools/pretrain_tiny_towers.py siglip --data data/24k_attribute --even --sentences 6 \
#     --steps 1700 --out work_dirs/towers/attribute
# python tools/train.py projects/localisation_study/configs/towers_attribute.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(siglip=dict(checkpoint='work_dirs/towers/attribute'))
