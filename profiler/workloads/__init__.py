"""What runs under the profiler, each a process of its own: PyTorch (:mod:`.pytorch`) and TensorRT (:mod:`.tensorrt`).

The TensorRT side runs on CPython 3.9 with only tensorrt, numpy, nvtx, cuda-python and nvidia-ml-py.
"""
