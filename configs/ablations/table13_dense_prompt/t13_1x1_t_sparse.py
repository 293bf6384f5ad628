# Table XIII: convolutions 1x1, text T-sparse (chosen here).
# python tools/train.py configs/ablations/table13_dense_prompt/t13_1x1_t_sparse.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(dense=dict(conv='1x1', text='t_sparse')))
