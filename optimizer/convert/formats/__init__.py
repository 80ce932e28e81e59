"""What the formats of TensorFlow hold, and what both sides of a conversion have to know of them."""
