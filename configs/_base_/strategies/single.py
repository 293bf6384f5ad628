# One device, float32.
strategy = dict(type='SingleDeviceStrategy')
