"""From a PyTorch model to a TensorRT engine: :mod:`.export` (the torch environment) and :mod:`.build` (the TensorRT environment).

The TensorRT side (build, inspector, logger, progress, versions) runs on CPython 3.9.
"""
