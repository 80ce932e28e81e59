"""Turns a TensorFlow, Keras or TFLite model into ONNX, and proves that both compute the same."""
