"""A trained model outside of this framework: exported graphs, and a predictor without torch.

`onnx_predictor` and what it imports need numpy, Pillow, tokenizers and onnxruntime alone; OpenCV
too where a model's `sam_resize` is 'uint8'. `export_graphs` and `graph_modules` need torch.
"""
