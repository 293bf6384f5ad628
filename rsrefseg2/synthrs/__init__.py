"""SynthRS: overhead scenes drawn by code, with referring sentences of three levels.

catalogue   what can stand in a scene                shapes, ground    draw it
scene       composes a picture                       language          what can be said of it
wording     meanings as sentences                    generate          a scene and its sentences
build       a dataset on disk, in layouts of datasets.writers
solver      answers a sentence, sharing no code with the generator
baselines   scores that need no model                metric            scores by level beside them
pretraining the tiny towers                          questions         what SigLIP is asked
interventions  failures made on purpose                 oracle  the target as dense prompt
"""
