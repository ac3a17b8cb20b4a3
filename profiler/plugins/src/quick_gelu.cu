// The kernels. Memory-bound: each access moves 16 bytes, and everything is computed in registers. In FP32 and FP16 a thread handles one such
// vector: four of them, and loads and stores marked as streaming, were measured and were slower at every size from 4 MiB to 1 GiB.
#include "quick_gelu.h"

#include "quick_gelu_ops.cuh"

#include <algorithm>
#include <cmath>

namespace profiler_plugin {
namespace {

// A thread takes one vector; the last block also the elements that fill none. The name says plugin and the element type, so that traces
// can attribute it.
template <typename T, typename Op>
__global__ void __launch_bounds__(kThreads) quick_gelu_plugin_kernel(T const* x, T* y, std::int64_t count, Op op) {
    constexpr int kLanes = 16 / sizeof(T);
    std::int64_t const vectors = count / kLanes;
    std::int64_t const mine = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (mine < vectors) {
        reinterpret_cast<uint4*>(y)[mine] = apply(op, reinterpret_cast<uint4 const*>(x)[mine]);
    }
    if (blockIdx.x == gridDim.x - 1 && vectors * kLanes + threadIdx.x < count) {
        std::int64_t const at = vectors * kLanes + threadIdx.x;
        y[at] = op(x[at]);
    }
}

template <typename T, typename Op>
__global__ void __launch_bounds__(kThreads) quick_gelu_plugin_unaligned_kernel(T const* x, T* y, std::int64_t count, Op op) {
    std::int64_t const stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
    for (std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; at < count; at += stride) {
        y[at] = op(x[at]);
    }
}

// The table travels as a parameter of the kernel, and each block copies it to shared memory.
template <int kVectors>
__global__ void __launch_bounds__(kThreads) quick_gelu_plugin_int8_kernel(
    std::int8_t const* x, std::int8_t* y, std::int64_t count, bool aligned, __grid_constant__ Table const parameter) {
    __shared__ std::uint32_t table[64];
    for (int i = threadIdx.x; i < 64; i += kThreads) {
        table[i] = parameter.words[i];
    }
    __syncthreads();
    std::int64_t const vectors = aligned ? count / 16 : 0;
    std::int64_t const tile = kThreads * kVectors;
    auto const* in = reinterpret_cast<uint4 const*>(x);
    auto* out = reinterpret_cast<uint4*>(y);
    std::int64_t const step = tile * gridDim.x;
    for (std::int64_t base = tile * blockIdx.x; base < vectors; base += step) {
        std::int64_t const first = base + threadIdx.x;
        if (base + tile <= vectors) {
            uint4 loaded[kVectors];
#pragma unroll
            for (int i = 0; i < kVectors; ++i) {
                loaded[i] = in[first + i * kThreads];
            }
#pragma unroll
            for (int i = 0; i < kVectors; ++i) {
                out[first + i * kThreads] = lookUp(table, loaded[i]);
            }
        } else {
            for (std::int64_t at = first; at < vectors; at += kThreads) {
                out[at] = lookUp(table, in[at]);
            }
        }
    }
    // what fills no vector, or everything when the memory is not aligned
    std::int64_t const stride = static_cast<std::int64_t>(gridDim.x) * kThreads;
    for (std::int64_t at = vectors * 16 + static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x; at < count; at += stride) {
        y[at] = static_cast<std::int8_t>(lookUp(table, static_cast<std::uint8_t>(x[at])) & 0xFFU);
    }
}

int multiprocessors() {
    int device = 0;
    int count = 0;
    if (cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) {
        return 1;
    }
    return std::max(count, 1);
}

bool aligned(void const* x, void const* y) {
    return (reinterpret_cast<std::uintptr_t>(x) | reinterpret_cast<std::uintptr_t>(y)) % 16 == 0;
}

std::int64_t ceilDivide(std::int64_t a, std::int64_t b) {
    return (a + b - 1) / b;
}

template <typename Op>
cudaError_t launchFloating(void const* x, void* y, std::int64_t count, Op const& op, cudaStream_t stream) {
    using T = typename Op::Element;
    auto const* in = static_cast<T const*>(x);
    auto* out = static_cast<T*>(y);
    if (!aligned(x, y)) {
        auto const blocks = static_cast<unsigned>(std::min<std::int64_t>(ceilDivide(count, kThreads), multiprocessors() * 16));
        quick_gelu_plugin_unaligned_kernel<T, Op><<<blocks, kThreads, 0, stream>>>(in, out, count, op);
        return cudaGetLastError();
    }
    std::int64_t const vectors = count * static_cast<std::int64_t>(sizeof(T)) / 16;
    std::int64_t const blocks = std::max<std::int64_t>(1, ceilDivide(vectors, kThreads));
    if (blocks > 0x7FFFFFFF) {
        return cudaErrorInvalidValue;
    }
    quick_gelu_plugin_kernel<T, Op><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(in, out, count, op);
    return cudaGetLastError();
}

cudaError_t launchInt8(void const* x, void* y, std::int64_t count, Table const& table, cudaStream_t stream) {
    auto const* in = static_cast<std::int8_t const*>(x);
    auto* out = static_cast<std::int8_t*>(y);
    bool const isAligned = aligned(x, y);
    int const processors = multiprocessors();
    std::int64_t const vectors = count / 16;
    // four loads of a thread in flight, once there are enough vectors to occupy every multiprocessor several times
    bool const four = vectors >= static_cast<std::int64_t>(processors) * kThreads * 4 * 8;
    // each block fills its table once, so there are no more blocks than run at a time
    std::int64_t const tiles = isAligned ? ceilDivide(vectors, kThreads * (four ? 4 : 1)) : ceilDivide(count, kThreads);
    auto const grid = static_cast<unsigned>(std::max<std::int64_t>(1, std::min<std::int64_t>(tiles, processors * 8)));
    auto const kernel = four ? quick_gelu_plugin_int8_kernel<4> : quick_gelu_plugin_int8_kernel<1>;
    kernel<<<grid, kThreads, 0, stream>>>(in, out, count, isAligned, table);
    return cudaGetLastError();
}

}  // namespace

Table makeTable(Parameters const& p) {
    Table table{};
    auto* bytes = reinterpret_cast<std::int8_t*>(table.words);
    for (int q = -128; q < 128; ++q) {
        bytes[q + 128] = static_cast<std::int8_t>(exactEntry(q, p.alpha, p.inputScale, p.outputScale));
    }
    return table;
}

cudaError_t launch(Type type, void const* x, void* y, std::int64_t count, Parameters const& p, cudaStream_t stream, Table const* table) {
    if (count < 0 || !std::isfinite(p.alpha) || p.alpha <= 0.0F) {
        return cudaErrorInvalidValue;
    }
    if (count == 0) {
        return cudaSuccess;
    }
    if (x == nullptr || y == nullptr) {
        return cudaErrorInvalidValue;
    }
    switch (type) {
    case Type::kFloat: return launchFloating(x, y, count, FloatOp(p.alpha), stream);
    case Type::kHalf: return launchFloating(x, y, count, HalfOp(p.alpha), stream);
    case Type::kInt8:
        // a scale of zero, infinity or NaN is how TensorRT says that there is none
        if (!(p.inputScale > 0.0F && std::isfinite(p.inputScale) && p.outputScale > 0.0F && std::isfinite(p.outputScale))) {
            return cudaErrorInvalidValue;
        }
        return launchInt8(x, y, count, table != nullptr ? *table : makeTable(p), stream);
    }
    return cudaErrorInvalidValue;
}

}  // namespace profiler_plugin
