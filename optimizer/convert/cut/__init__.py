"""Keeps a graph up to the tensors that a user names, and says where post-processing could stay out."""
