"""The custom layer: QuickGELU as a PyTorch module, a CUDA kernel and a TensorRT plugin that agree.

QuickGELU, ``x * sigmoid(1.702 * x)``, is the activation of CLIP's image encoders. PyTorch has no operator for it (three kernels in eager
mode: a product, a sigmoid, a product), and TensorRT has no layer for it (it fuses the three into one pointwise layer by itself).
"""
