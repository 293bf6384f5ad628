# Six vectors per subspace.
# python tools/train.py projects/localisation_study/configs/n_t_6.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(prompter=dict(n_t=6))
