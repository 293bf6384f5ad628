# A variant of Eq. 5, not the paper's: the text vectors read the image before the image reads them.
# python tools/train.py configs/where/text_reads_image.py
_base_ = '../synthrs_tiny.py'
model = dict(prompter=dict(interaction=dict(text_reads_image=True)))
