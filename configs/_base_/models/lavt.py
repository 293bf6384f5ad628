# LAVT (arXiv 2112.02244): Swin-B and BERT-base at 480 x 480, cross-entropy.
# Of the authors' code (github.com/yz93/LAVT-RIS), where the paper is silent: 20 tokens; drop path 0.3;
# the classes weigh 0.9 and 1.1, here as their ratio, which differs by a factor near 1 of the loss.
model = dict(
    type='LAVT',
    init='pretrained',  # 'random': the same architectures without a download
    swin=dict(checkpoint='microsoft/swin-base-patch4-window12-384-in22k', image_size=480,
              drop_path=0.3),
    bert=dict(checkpoint='google-bert/bert-base-uncased', max_length=20),
    losses=dict(seg=dict(
        type='SegmentationLoss',
        ce=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, class_weight=[1.1 / 0.9]))))
