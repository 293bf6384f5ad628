# Scope, hooks, logging, randomness: the same for every run.
default_scope = 'rsrefseg2'
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
               dist_cfg=dict(backend='nccl'))  # gloo on a machine without a GPU
default_hooks = dict(
    timer=dict(type='TimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best='gIoU',
                    rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    runtime_info=dict(type='RuntimeInfoHook'))
custom_hooks = [dict(type='PreemptionHook'), dict(type='TrackerHook'), dict(type='ProgressBarHook'),
                dict(type='PanelHook', n=4), dict(type='MaskWarningHook'),
                dict(type='TruncatedSentenceHook')]
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
# More: tensorboard=True, wandb=dict(project=...)
visualizer = dict(type='RefSegVisualizer')
log_level = 'INFO'
randomness = dict(seed=0)
load_from = None
resume = False
