# iter_runtime, the prompter starting from what the towers say.
_base_ = './iter_runtime.py'
default_hooks = dict(tower_start=dict(type='InitPrompterFromTowersHook'))
