# Table XIII: T-sparse.
# python tools/train.py configs/ablations/table13_dense_prompt/t13_t_sparse.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(dense=dict(text='t_sparse')))
