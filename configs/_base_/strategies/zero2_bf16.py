# Sec. IV-C.2: DeepSpeed ZeRO-2 in BF16.
strategy = dict(type='ZeRO2Strategy', bf16=dict(enabled=True),
                zero_optimization=dict(stage=2, overlap_comm=False, contiguous_gradients=True))
