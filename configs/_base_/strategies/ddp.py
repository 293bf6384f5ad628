# One process per device, float32.
strategy = dict(type='DDPStrategy')
