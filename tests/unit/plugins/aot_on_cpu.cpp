// The ahead-of-time kernels on the CPU, thread after thread: everything but the GPU's approximate instructions is as compiled for the GPU.
#include <cstdint>
#include <cstring>

#include <cuda_fp16.h>

// what nvcc declares by itself
#undef __shared__
#define __shared__ static
#undef __launch_bounds__
#define __launch_bounds__(threads)
struct Index {
    unsigned x;
};
static Index threadIdx;
static Index blockIdx;
static Index gridDim;
static void __syncthreads() {}
static float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}
static unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    std::uint64_t const bytes = (static_cast<std::uint64_t>(b) << 32) | a;
    unsigned result = 0;
    for (unsigned i = 0; i < 4; ++i) {
        result |= static_cast<unsigned>(bytes >> (8 * (selector >> (4 * i) & 7)) & 0xFF) << (8 * i);
    }
    return result;
}

#include "quick_gelu_aot.cu"

// type: 0 FP32, 1 FP16, 2 INT8. extra: as TensorRT passes them. In INT8 a block runs twice, as its threads wait for each other's entries
// of the table: the second time all are there.
extern "C" void run_on_cpu(int type, void const* x, void* y, int const* extra, int grid, int block) {
    gridDim.x = static_cast<unsigned>(grid);
    for (int round = 0; round < (type == 2 ? 2 : 1); ++round) {
        for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) {
            for (threadIdx.x = 0; threadIdx.x < static_cast<unsigned>(block); ++threadIdx.x) {
                if (type == 0) {
                    quick_gelu_plugin_aot_fp32(static_cast<float const*>(x), extra[0], extra[1], extra[2], static_cast<float*>(y));
                } else if (type == 1) {
                    quick_gelu_plugin_aot_fp16(
                        static_cast<__half const*>(x), extra[0], extra[1], extra[2], static_cast<__half*>(y));
                } else {
                    quick_gelu_plugin_aot_int8(static_cast<std::int8_t const*>(x), extra[0], extra[1], extra[2], extra[3], extra[4],
                        static_cast<std::int8_t*>(y));
                }
            }
        }
    }
}

// y = q's entry for each of the 256 values, from -128 on: as the kernel makes it, and in double precision alone.
extern "C" void tables(float alpha, float inputScale, float outputScale, int* kernel, int* exact) {
    profiler_plugin::FloatOp const op(alpha, profiler_plugin::reciprocal(alpha));
    for (int q = -128; q < 128; ++q) {
        kernel[q + 128] = profiler_plugin::tableEntry(q, op, alpha, inputScale, outputScale);
        exact[q + 128] = profiler_plugin::exactEntry(q, alpha, inputScale, outputScale);
    }
}

// Single precision's value of each entry before it is rounded, and the largest error that tableEntry() reckons with.
extern "C" void unrounded(float alpha, float inputScale, float outputScale, float* y, float* doubt) {
    profiler_plugin::FloatOp const op(alpha, profiler_plugin::reciprocal(alpha));
    for (int q = -128; q < 128; ++q) {
        y[q + 128] = profiler_plugin::unroundedEntry(q, op, alpha, inputScale, outputScale, doubt[q + 128]);
    }
}

// The few functions of the CUDA driver that launch a kernel, here on the CPU.
extern "C" int cuModuleLoadData(void** module, char const* ptx) {
    *module = const_cast<char*>(ptx);
    return std::strstr(ptx, ".visible .entry quick_gelu_plugin_aot_fp32(") == nullptr ? 218 : 0;
}
extern "C" int cuModuleGetFunction(void** function, void*, char const* name) {
    static char const* const names[] = {"quick_gelu_plugin_aot_fp32", "quick_gelu_plugin_aot_fp16", "quick_gelu_plugin_aot_int8"};
    for (auto const& known : names) {
        if (std::strcmp(known, name) == 0) {
            *function = const_cast<char const**>(&known);
            return 0;
        }
    }
    return 500;
}
extern "C" int cuLaunchKernel(void* function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY,
    unsigned blockZ, unsigned shared, void*, void** arguments, void**) {
    char const* const name = *static_cast<char const* const*>(function);
    int const type = std::strstr(name, "fp32") != nullptr ? 0 : std::strstr(name, "fp16") != nullptr ? 1 : 2;
    if (gridX == 0 || gridY * gridZ * blockY * blockZ != 1 || blockX != 256 || shared != 0) {
        return 1;
    }
    int const count = type == 2 ? 5 : 3;
    int extra[5];
    for (int i = 0; i < count; ++i) {
        extra[i] = *static_cast<int const*>(arguments[1 + i]);
    }
    void const* const x = *static_cast<void* const*>(arguments[0]);
    void* const y = *static_cast<void* const*>(arguments[1 + count]);
    if (type == 2 && x == y) {  // the second of the two rounds would read what the first has written
        static char copy[1 << 20];
        std::size_t const bytes = static_cast<std::size_t>(extra[0]) * 16 + static_cast<std::size_t>(extra[1]);
        if (bytes > sizeof(copy)) {
            return 2;
        }
        std::memcpy(copy + reinterpret_cast<std::uintptr_t>(x) % 16, x, bytes);
        run_on_cpu(type, copy + reinterpret_cast<std::uintptr_t>(x) % 16, y, extra, static_cast<int>(gridX), static_cast<int>(blockX));
        return 0;
    }
    run_on_cpu(type, x, y, extra, static_cast<int>(gridX), static_cast<int>(blockX));
    return 0;
}
extern "C" int cuGetErrorString(int status, char const** text) {
    *text = status == 218 ? "a PTX JIT compilation failed" : "invalid argument";
    return 0;
}
