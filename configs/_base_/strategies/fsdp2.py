# torch's FSDP2, for those who want it: weights divided over the ranks too.
strategy = dict(type='FSDP2Strategy', param_dtype='float32')  # 'bfloat16' on GPUs
