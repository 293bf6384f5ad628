# One vector per subspace: the words' mean.
# python tools/train.py projects/localisation_study/configs/n_t_1.py
_base_ = '../../../configs/synthrs_tiny.py'
model = dict(prompter=dict(n_t=1))
