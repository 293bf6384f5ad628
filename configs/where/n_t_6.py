# Six vectors per subspace.
# python tools/train.py configs/where/n_t_6.py
_base_ = '../synthrs_tiny.py'
model = dict(prompter=dict(n_t=6))
