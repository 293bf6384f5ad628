"""The tiny towers, pretrained on SynthRS."""
