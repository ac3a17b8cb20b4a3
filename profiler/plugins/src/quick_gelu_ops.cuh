// The arithmetic of the kernels (quick_gelu.cu). It also compiles for the CPU, with functions of the C library in the place of the GPU's two approximate
// instructions, so that the rest can be checked without a GPU.
#pragma once

#include <cmath>
#include <cstdint>

#include <cuda_fp16.h>

namespace profiler_plugin {
namespace {

constexpr int kThreads = 256;
constexpr float kLog2E = 1.4426950408889634F;

// 1 / d to one unit in the last place, for d from 1 to 2^126 (beyond, the result is flushed to zero).
__device__ __forceinline__ float reciprocal(float d) {
#ifdef __CUDA_ARCH__
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(d));
    return r;
#else
    return 1.0F / d;
#endif
}

// FP32, to 1e-6 relative down to the smallest normal result. With h = exp(alpha x / 2):
//   x sigmoid(alpha x) = x h^2 / (1 + h^2) = (x (h / (1 + h^2))) h,
// where nothing overflows or is denormal before the result is. The product alpha x / 2 is taken in two parts, as the rounding of t alone
// would be |t| 2^-24 of the result. Beyond |alpha x| = 80 (240 below) the result is x (0) to the last bit.
struct FloatOp {
    using Element = float;
    float halfAlpha;
    float low;   // -120 / halfAlpha
    float high;  // 40 / halfAlpha

    explicit FloatOp(float alpha) : halfAlpha(0.5F * alpha), low(-240.0F / alpha), high(80.0F / alpha) {}

    // For a kernel that gets alpha alone: `inverse` is 1 / alpha, approximately, as the two bounds need not be exact.
    __host__ __device__ FloatOp(float alpha, float inverse) : halfAlpha(0.5F * alpha), low(-240.0F * inverse), high(80.0F * inverse) {}

    __device__ __forceinline__ float operator()(float x) const {
        float const bounded = fmaxf(fminf(x, high), low);
        float const t = halfAlpha * bounded;
        float const rest = fmaf(halfAlpha, bounded, -t);
        float const e = expf(t);
        float const h = fmaf(e, rest, e);
        return x * (h * reciprocal(fmaf(h, h, 1.0F))) * h;
    }
};

// One entry of the INT8 table: what the value q becomes. In double precision, rounded to even and clamped as TensorRT's QuantizeLinear does.
__host__ __device__ inline std::int32_t exactEntry(int q, float alpha, float inputScale, float outputScale) {
    double const x = static_cast<double>(q) * inputScale;
    double const y = x / (1.0 + exp(-static_cast<double>(alpha) * x)) / outputScale;
    return static_cast<std::int32_t>(fmin(127.0, fmax(-128.0, rint(y))));
}

// The same before rounding, in single precision, with the largest error that it may have: FloatOp's, and those of four roundings, of which
// that of x counts 1 + |alpha x| times. Near denormal numbers nothing is known of it.
__device__ __forceinline__ float unroundedEntry(
    int q, FloatOp const& op, float alpha, float inputScale, float outputScale, float& doubt) {
    float const x = static_cast<float>(q) * inputScale;
    float const value = op(x);
    float const y = value / outputScale;
    bool const tiny = q != 0 && !(fabsf(value) >= 1e-30F);
    doubt = tiny ? INFINITY : fabsf(y) * (8e-7F + 1.5e-7F * fabsf(alpha * x));
    return y;
}

// An entry in single precision, and in double where that cannot tell to which side to round: few GPUs are quick in double precision.
__device__ __forceinline__ std::int32_t tableEntry(int q, FloatOp const& op, float alpha, float inputScale, float outputScale) {
    float doubt;
    float const y = unroundedEntry(q, op, alpha, inputScale, outputScale, doubt);
    float const nearest = rintf(y);
    bool const saturates = fabsf(y) > 129.0F && doubt < INFINITY;
    if (!saturates && !(fabsf(y - nearest) + doubt < 0.5F)) {
        return exactEntry(q, alpha, inputScale, outputScale);
    }
    return static_cast<std::int32_t>(fminf(127.0F, fmaxf(-128.0F, nearest)));
}

// 16 bytes of memory as elements.
template <typename T>
union Vector {
    uint4 bytes;
    T lanes[16 / sizeof(T)];
};

// FP16: in FP32 with the approximate instructions. Their error, about |alpha x| 2^-23, is a hundredth of FP16's half step of 2^-11. Where the
// exponential overflows or the reciprocal is flushed, the result is far below FP16's smallest number.
struct HalfOp {
    using Element = __half;
    float minusAlphaLog2E;

    __host__ __device__ explicit HalfOp(float alpha) : minusAlphaLog2E(-alpha * kLog2E) {}

    __device__ __forceinline__ float value(float x) const {
        float e;
#ifdef __CUDA_ARCH__
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(minusAlphaLog2E * x));
#else
        e = exp2f(minusAlphaLog2E * x);
#endif
        return x * reciprocal(1.0F + e);
    }
    __device__ __forceinline__ __half operator()(__half x) const { return __float2half_rn(value(__half2float(x))); }
};

template <typename Op>
__device__ __forceinline__ uint4 apply(Op const& op, uint4 const& in) {
    Vector<typename Op::Element> v;
    v.bytes = in;
#pragma unroll
    for (auto& lane : v.lanes) {
        lane = op(lane);
    }
    return v.bytes;
}

template <>
__device__ __forceinline__ uint4 apply<HalfOp>(HalfOp const& op, uint4 const& in) {
    Vector<__half2> v;
    v.bytes = in;
#pragma unroll
    for (auto& lane : v.lanes) {
        float2 const x = __half22float2(lane);
        lane = __floats2half2_rn(op.value(x.x), op.value(x.y));
    }
    return v.bytes;
}

// The four table entries of four packed values.
__device__ __forceinline__ std::uint32_t lookUp(std::uint32_t const* table, std::uint32_t packed) {
    packed ^= 0x80808080U;  // value + 128
    std::uint32_t result = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        std::uint32_t const entry = reinterpret_cast<std::uint8_t const*>(table)[__byte_perm(packed, 0, 0x4440 + i)];
        result |= entry << (8 * i);
    }
    return result;
}

__device__ __forceinline__ uint4 lookUp(std::uint32_t const* table, uint4 v) {
    return {lookUp(table, v.x), lookUp(table, v.y), lookUp(table, v.z), lookUp(table, v.w)};
}

}  // namespace
}  // namespace profiler_plugin
