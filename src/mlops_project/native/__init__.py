"""An exact evaluation of tree ensembles in C, for the models that ONNX Runtime would walk row by row."""
