"""Turns a small trained network and 5,000 handwritten digits into the files of a first optimization.

The main job needs a model, calibration samples and labelled evaluation samples; `write_demo_data` writes
all three. `optimizer.demo.train` is the script that made the model (it alone loads TensorFlow).
"""
