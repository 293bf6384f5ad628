"""Registries: children of mmengine's, so that configs may name our classes and mmdet's alike.

`locations` are imported when a registry is first asked, so a config needs no `custom_imports`.
Only the nodes in use exist.
"""

from mmengine import registry as root

SCOPE = 'rsrefseg2'


def _child(parent: root.Registry, *locations: str) -> root.Registry:
    return root.Registry(
        parent.name,
        parent=parent,
        scope=SCOPE,
        locations=[f'rsrefseg2.{location}' for location in locations],
    )


MODELS = _child(root.MODELS, 'models')
DATASETS = _child(root.DATASETS, 'datasets')
TRANSFORMS = _child(root.TRANSFORMS, 'datasets', 'synthrs.absent_sentences')
DATA_SAMPLERS = _child(root.DATA_SAMPLERS, 'datasets')
FUNCTIONS = _child(root.FUNCTIONS, 'datasets')
METRICS = _child(root.METRICS, 'evaluation', 'diagnostics.object_metric')
HOOKS = _child(root.HOOKS, 'engine')
LOOPS = _child(root.LOOPS, 'engine')
VISUALIZERS = _child(root.VISUALIZERS, 'engine')
STRATEGIES = _child(root.STRATEGIES, 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
# Not for configs: what RSRefSeg2.from_pretrained and its like call, which models/ may not import.
PRETRAINED = root.Registry('pretrained', scope=SCOPE, locations=['rsrefseg2.publishing'])
# Without a class of ours; where a node is missing, mmengine warns at each start.
for _parent in (
    root.LOG_PROCESSORS,
    root.VISBACKENDS,
    root.OPTIMIZERS,
    root.OPTIM_WRAPPERS,
    root.PARAM_SCHEDULERS,
):
    _child(_parent)
