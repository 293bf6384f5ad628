"""Parameters, FLOPs and the utilization of a training step."""
