# RSRefSeg-l of github.com/KyanChen/RSRefSeg: SigLIP so400m at 384, SAM ViT-L, LoRA of rank 16 with dropout
# 0.1, SAM's prompt encoder trained, cross-entropy of weight 5. Its code adapts SAM's MLPs and neck, too;
# here only the attention of SAM 1 can be.
lora = dict(r=16, dropout=0.1)
model = dict(
    type='RSRefSeg2',
    init='pretrained',
    siglip=dict(checkpoint='google/siglip-so400m-patch14-384', vision_lora=lora,
                text_lora=dict(**lora, extra_layers='head')),
    sam=dict(checkpoint='facebook/sam-vit-large', lora=lora, train_prompt_encoder=True),
    prompter=dict(type='AttnPrompter', down_spatial=2, dense=dict()),
    losses=dict(seg=dict(
        type='SegmentationLoss',
        ce=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=5.0))))
