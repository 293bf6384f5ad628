# Table XIII: convolutions none, text T-sparse (chosen here).
# python tools/train.py configs/ablations/table13_dense_prompt/t13_no_conv_t_sparse.py
_base_ = '../../rrsisd_ablation.py'
model = dict(prompter=dict(dense=dict(conv=None, text='t_sparse')))
