"""What the processes on the GPU share: their options and documents, the CUDA runtime, telemetry, images and PyTorch models.

Runs on CPython 3.9 with numpy alone; CUDA, NVML and torch are imported where they are used.
"""
