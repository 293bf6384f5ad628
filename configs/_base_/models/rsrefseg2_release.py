# The public release's variant of the model; what its checkpoints were trained as.
# Its text is padded to the longest sentence of the batch, which SigLIP reads, so a prediction
# depends on its batch. It cuts at 128 tokens, but SigLIP 2 has 64 positions: here at 64, with a warning.
# Its tokenizer (transformers 4.53's) does not lower-case.
# SAM 2's stability rule is on in its validation and its test, so in the choice of its checkpoints
# and very likely in its published numbers; the paper speaks of the first mask alone.
_base_ = './rsrefseg2.py'
model = dict(
    upsample_via_sam_input=True,
    data_preprocessor=dict(lower_case=False, padding='longest', siglip_from='sam_input',
                           sam_resize='uint8', fit='pad'),
    siglip=dict(text_lora=dict(extra_layers='head'), keep_padding_tokens=True),
    sam=dict(lora=dict(extra_layers='neck'), train_prompt_encoder=True,
             stability_rule=dict(delta=0.05, threshold=0.98)),
    prompter=dict(type='InterleavedPrompter', dense=dict(activation='gelu', align_corners=True)),
    losses=dict(seg=dict(loss_resolution='annotation', ce=dict(loss_weight=5.0),
                         dice=dict(loss_weight=5.0, naive_dice=False)),  # squared denominators
                sample=dict(variant='release')))
