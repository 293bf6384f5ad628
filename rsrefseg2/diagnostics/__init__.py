"""Why a model fails: objects hit, baselines, made failures, the oracle, probes, anchors."""
