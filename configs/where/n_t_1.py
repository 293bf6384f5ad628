# One vector per subspace: the words' mean.
# python tools/train.py configs/where/n_t_1.py
_base_ = '../synthrs_tiny.py'
model = dict(prompter=dict(n_t=1))
