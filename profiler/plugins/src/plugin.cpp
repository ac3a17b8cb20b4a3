// The TensorRT plugin around the kernels: IPluginV2DynamicExt for TensorRT 8, IPluginV3 for TensorRT 10 and 11, from this one source.
//
// ONNX node:  op type ProfilerQuickGelu, any domain, one input, one output; attributes plugin_version = "1", plugin_namespace = "", and
//   alpha         float, above 0; default 1.702
//   input_scale   float; with output_scale: the node takes and gives INT8 tensors, value = scale * integer
//   output_scale  float
// so an INT8 node stands between a QuantizeLinear of input_scale and a DequantizeLinear of output_scale.
//
// The library registers itself when it is loaded into a process that has TensorRT of the major version it was compiled for, and says what
// it did through profiler_plugin_status(). Without TensorRT its kernels can still be launched.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>

#include <dlfcn.h>

#include "quick_gelu.h"

#ifndef PROFILER_NO_TENSORRT
#include <NvInferRuntime.h>
#include <NvInferVersion.h>
#endif

#define PROFILER_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

std::string gStatus = "not registered";

}  // namespace

// What the library is and whether it registered itself: "registered", or the reason why not.
PROFILER_EXPORT char const* profiler_plugin_status() {
    return gStatus.c_str();
}

// The TensorRT that the library was compiled for, as MAJOR.MINOR.PATCH; empty when without.
PROFILER_EXPORT char const* profiler_plugin_tensorrt() {
#ifdef PROFILER_NO_TENSORRT
    return "";
#else
    static std::string const text = std::to_string(NV_TENSORRT_MAJOR) + "." + std::to_string(NV_TENSORRT_MINOR) + "."
        + std::to_string(NV_TENSORRT_PATCH);
    return text.c_str();
#endif
}

// Start the kernel on device memory; returns a cudaError_t. type: 0 FP32, 1 FP16, 2 INT8.
PROFILER_EXPORT int profiler_quick_gelu(int type, void const* x, void* y, long long count, float alpha, float inputScale,
    float outputScale, void* stream) {
    return static_cast<int>(profiler_plugin::launch(static_cast<profiler_plugin::Type>(type), x, y, count,
        {alpha, inputScale, outputScale}, static_cast<cudaStream_t>(stream)));
}

PROFILER_EXPORT char const* profiler_plugin_error(int status) {
    return cudaGetErrorString(static_cast<cudaError_t>(status));
}

#ifndef PROFILER_NO_TENSORRT
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::IExprBuilder;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

constexpr char const* kName = "ProfilerQuickGelu";
constexpr char const* kVersion = "1";
constexpr char const* kNamespace = "";
constexpr float kDefaultAlpha = 1.702F;

// TensorRT's own functions are found in the process at run time. Linked in, they would tie the library to one installation's file names, and
// keep it from loading where there is no TensorRT.
template <typename Function>
Function find(char const* name) {
    void* found = dlsym(RTLD_DEFAULT, name);
    // Python's loader keeps symbols private unless told otherwise; other versions are looked for too, to name the one that runs
    for (int32_t major = 8; found == nullptr && major <= 15; ++major) {
        std::string const library = "libnvinfer.so." + std::to_string(major);
        if (void* handle = dlopen(library.c_str(), RTLD_LAZY | RTLD_NOLOAD)) {
            found = dlsym(handle, name);
        }
    }
    return reinterpret_cast<Function>(found);
}

void report(std::string const& text) noexcept {
    using Logger = nvinfer1::ILogger* (*) ();
    auto const logger = find<Logger>("getLogger");
    nvinfer1::ILogger* const target = logger != nullptr ? logger() : nullptr;
    std::string const message = std::string(kName) + ": " + text;
    if (target != nullptr) {
        target->log(nvinfer1::ILogger::Severity::kERROR, message.c_str());
    } else {
        std::fprintf(stderr, "%s\n", message.c_str());
    }
}

struct Settings {
    float alpha = kDefaultAlpha;
    float inputScale = 0.0F;
    float outputScale = 0.0F;

    bool quantised() const {
        return inputScale > 0.0F;
    }
};

bool usable(float scale) {
    return std::isfinite(scale) && scale > 0.0F;
}

bool valid(Settings const& s) {
    if (!usable(s.alpha)) {
        report("alpha is " + std::to_string(s.alpha) + ", and a number above 0 was expected.");
        return false;
    }
    bool const none = s.inputScale == 0.0F && s.outputScale == 0.0F;
    if (!none && !(usable(s.inputScale) && usable(s.outputScale))) {
        report("input_scale is " + std::to_string(s.inputScale) + " and output_scale " + std::to_string(s.outputScale)
            + "; both were expected above 0, or neither.");
        return false;
    }
    return true;
}

bool read(PluginFieldCollection const* fields, Settings& settings) {
    for (int32_t i = 0; fields != nullptr && i < fields->nbFields; ++i) {
        PluginField const& field = fields->fields[i];
        float* const target = std::strcmp(field.name, "alpha") == 0 ? &settings.alpha
            : std::strcmp(field.name, "input_scale") == 0           ? &settings.inputScale
            : std::strcmp(field.name, "output_scale") == 0          ? &settings.outputScale
                                                                    : nullptr;
        if (target == nullptr || field.data == nullptr || field.length == 0) {
            continue;  // the parser hands over every field that it knows, given or not
        }
        if (field.type != PluginFieldType::kFLOAT32 || field.length != 1) {
            report(std::string(field.name) + " has another type than one 32-bit float.");
            return false;
        }
        std::memcpy(target, field.data, sizeof(float));
    }
    return valid(settings);
}

PluginFieldCollection const* fieldNames() {
    static PluginField const fields[] = {
        {"alpha", nullptr, PluginFieldType::kFLOAT32, 1},
        {"input_scale", nullptr, PluginFieldType::kFLOAT32, 1},
        {"output_scale", nullptr, PluginFieldType::kFLOAT32, 1},
    };
    static PluginFieldCollection const collection{3, fields};
    return &collection;
}

char const* typeName(DataType type) {
    switch (type) {
    case DataType::kFLOAT: return "FP32";
    case DataType::kHALF: return "FP16";
    case DataType::kINT8: return "INT8";
    case DataType::kINT32: return "INT32";
    case DataType::kBOOL: return "BOOL";
    default: return "another type";
    }
}

// Elements per vector along the channels, and where the channels are, counted from the last dimension; 0: not a layout that is known here.
struct Layout {
    int32_t vector = 0;
    int32_t channelFromEnd = 3;
};

Layout layoutOf(TensorFormat format) {
    switch (format) {
    case TensorFormat::kLINEAR:
    case TensorFormat::kHWC: return {1, 3};
    case TensorFormat::kCHW2: return {2, 3};
    case TensorFormat::kCHW4: return {4, 3};
    case TensorFormat::kHWC8: return {8, 3};
    case TensorFormat::kHWC16: return {16, 3};
    case TensorFormat::kCHW32: return {32, 3};
    case TensorFormat::kDHWC8: return {8, 4};
    case TensorFormat::kCDHW32: return {32, 4};
    default: return {};
    }
}

// Which layouts are offered for a type: those in which TensorRT's convolutions take and give it.
bool supported(DataType type, TensorFormat format) {
    switch (type) {
    case DataType::kFLOAT:
        return format == TensorFormat::kLINEAR || format == TensorFormat::kHWC;
    case DataType::kHALF:
        return format == TensorFormat::kLINEAR || format == TensorFormat::kCHW2 || format == TensorFormat::kHWC8
            || format == TensorFormat::kHWC16 || format == TensorFormat::kDHWC8;
    case DataType::kINT8:
        return format == TensorFormat::kLINEAR || format == TensorFormat::kCHW4 || format == TensorFormat::kCHW32
            || format == TensorFormat::kCDHW32;
    default: return false;
    }
}

// A node with scales is INT8, one without computes in floating point, unless TensorRT itself brings scales (implicit quantisation).
bool supported(Settings const& settings, DataType type, TensorFormat format) {
    return supported(type, format) && (!settings.quantised() || type == DataType::kINT8);
}

// Elements in memory, the padding of the channels to full vectors included; -1 when the shape has no such dimension or is still open.
int64_t elements(Dims const& dims, TensorFormat format) {
    Layout const layout = layoutOf(format);
    int32_t const channel = dims.nbDims - layout.channelFromEnd;
    if (layout.vector == 0 || (layout.vector > 1 && channel < 0)) {
        return -1;
    }
    int64_t count = 1;
    for (int32_t i = 0; i < dims.nbDims; ++i) {
        int64_t size = dims.d[i];
        if (size < 0) {
            return -1;
        }
        if (layout.vector > 1 && i == channel) {
            size = (size + layout.vector - 1) / layout.vector * layout.vector;
        }
        count *= size;
    }
    return count;
}

// A node with what its launches need. Its table is made once: a node runs in every inference.
struct Node {
    Settings settings;
    profiler_plugin::Table table{};

    explicit Node(Settings const& given) : settings(given) {
        if (settings.quantised()) {
            table = profiler_plugin::makeTable({settings.alpha, settings.inputScale, settings.outputScale});
        }
    }
};

// What both interfaces' enqueue does. Returns 0, or 1 after reporting why not.
int32_t run(Node const& node, PluginTensorDesc const& in, PluginTensorDesc const& out, void const* x, void* y,
    cudaStream_t stream) noexcept {
    Settings const& settings = node.settings;
    if (in.type != out.type || in.format != out.format) {
        report(std::string("input is ") + typeName(in.type) + " in format " + std::to_string(static_cast<int32_t>(in.format))
            + " and output " + typeName(out.type) + " in format " + std::to_string(static_cast<int32_t>(out.format))
            + "; they were expected to be alike.");
        return 1;
    }
    int64_t const count = elements(in.dims, in.format);
    if (!supported(settings, in.type, in.format) || count < 0 || elements(out.dims, out.format) != count) {
        report(std::string("cannot run on ") + typeName(in.type) + " in format " + std::to_string(static_cast<int32_t>(in.format))
            + "; FP32 (linear, HWC), FP16 (linear, CHW2, HWC8, HWC16, DHWC8) or INT8 (linear, CHW4, CHW32, CDHW32), of one shape in "
              "and out, was expected.");
        return 1;
    }
    profiler_plugin::Parameters parameters{settings.alpha, settings.inputScale, settings.outputScale};
    profiler_plugin::Table const* table = settings.quantised() ? &node.table : nullptr;
    auto type = profiler_plugin::Type::kFloat;
    if (in.type == DataType::kHALF) {
        type = profiler_plugin::Type::kHalf;
    } else if (in.type == DataType::kINT8) {
        type = profiler_plugin::Type::kInt8;
        if (!settings.quantised()) {
            parameters.inputScale = in.scale;
            parameters.outputScale = out.scale;
            if (!usable(in.scale) || !usable(out.scale)) {
                report("runs in INT8 without scales; give the node input_scale and output_scale.");
                return 1;
            }
        }
    }
    cudaError_t const status = profiler_plugin::launch(type, x, y, count, parameters, stream, table);
    if (status != cudaSuccess) {
        report(std::string("the kernel could not be started (") + cudaGetErrorString(status) + ").");
        return 1;
    }
    return 0;
}

#if NV_TENSORRT_MAJOR < 10

// What a plan holds of a node. `format` tells whether this library wrote it.
struct Stored {
    uint32_t magic;
    uint32_t format;
    Settings settings;
};
constexpr uint32_t kMagic = 0x554C4751;  // "QGLU"
constexpr uint32_t kFormat = 1;

class QuickGelu final : public nvinfer1::IPluginV2DynamicExt {
public:
    explicit QuickGelu(Node const& node) : mNode(node) {}

    QuickGelu* clone() const noexcept override {
        auto* copy = new (std::nothrow) QuickGelu(mNode);
        if (copy != nullptr) {
            copy->mNamespace = mNamespace;
        }
        return copy;
    }
    DimsExprs getOutputDimensions(int32_t, DimsExprs const* inputs, int32_t, IExprBuilder&) noexcept override {
        return inputs[0];
    }
    bool supportsFormatCombination(int32_t pos, PluginTensorDesc const* inOut, int32_t nbInputs, int32_t nbOutputs) noexcept override {
        if (nbInputs != 1 || nbOutputs != 1) {
            return false;
        }
        if (pos == 0) {
            return supported(mNode.settings, inOut[0].type, inOut[0].format);
        }
        return inOut[1].type == inOut[0].type && inOut[1].format == inOut[0].format;
    }
    void configurePlugin(DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*, int32_t) noexcept override {}
    size_t getWorkspaceSize(PluginTensorDesc const*, int32_t, PluginTensorDesc const*, int32_t) const noexcept override {
        return 0;
    }
    int32_t enqueue(PluginTensorDesc const* inputDesc, PluginTensorDesc const* outputDesc, void const* const* inputs, void* const* outputs,
        void*, cudaStream_t stream) noexcept override {
        return run(mNode, inputDesc[0], outputDesc[0], inputs[0], outputs[0], stream);
    }
    DataType getOutputDataType(int32_t, DataType const* inputTypes, int32_t) const noexcept override {
        return mNode.settings.quantised() ? DataType::kINT8 : inputTypes[0];
    }
    char const* getPluginType() const noexcept override {
        return kName;
    }
    char const* getPluginVersion() const noexcept override {
        return kVersion;
    }
    int32_t getNbOutputs() const noexcept override {
        return 1;
    }
    int32_t initialize() noexcept override {
        return 0;
    }
    void terminate() noexcept override {}
    size_t getSerializationSize() const noexcept override {
        return sizeof(Stored);
    }
    void serialize(void* buffer) const noexcept override {
        Stored const stored{kMagic, kFormat, mNode.settings};
        std::memcpy(buffer, &stored, sizeof(stored));
    }
    void destroy() noexcept override {
        delete this;
    }
    void setPluginNamespace(char const* pluginNamespace) noexcept override {
        mNamespace = pluginNamespace;
    }
    char const* getPluginNamespace() const noexcept override {
        return mNamespace.c_str();
    }

private:
    Node mNode;
    std::string mNamespace = kNamespace;
};

class Creator final : public nvinfer1::IPluginCreator {
public:
    char const* getPluginName() const noexcept override {
        return kName;
    }
    char const* getPluginVersion() const noexcept override {
        return kVersion;
    }
    PluginFieldCollection const* getFieldNames() noexcept override {
        return fieldNames();
    }
    nvinfer1::IPluginV2* createPlugin(char const*, PluginFieldCollection const* fields) noexcept override {
        Settings settings;
        return read(fields, settings) ? make(settings) : nullptr;
    }
    nvinfer1::IPluginV2* deserializePlugin(char const* name, void const* data, size_t length) noexcept override {
        Stored stored{};
        if (data == nullptr || length != sizeof(stored)) {
            report(std::string(name) + ": the plan holds " + std::to_string(length) + " bytes for this layer, and "
                + std::to_string(sizeof(stored)) + " were expected: it was built with another version of this plugin. Build it again.");
            return nullptr;
        }
        std::memcpy(&stored, data, sizeof(stored));
        if (stored.magic != kMagic || stored.format != kFormat) {
            report(std::string(name) + ": the plan was built with another version of this plugin. Build it again.");
            return nullptr;
        }
        return valid(stored.settings) ? make(stored.settings) : nullptr;
    }
    void setPluginNamespace(char const* pluginNamespace) noexcept override {
        mNamespace = pluginNamespace;
    }
    char const* getPluginNamespace() const noexcept override {
        return mNamespace.c_str();
    }

private:
    nvinfer1::IPluginV2* make(Settings const& settings) const {
        auto* plugin = new (std::nothrow) QuickGelu(Node(settings));
        if (plugin != nullptr) {
            plugin->setPluginNamespace(mNamespace.c_str());
        }
        return plugin;
    }
    std::string mNamespace = kNamespace;
};

#else

class QuickGelu final : public nvinfer1::IPluginV3,
                        public nvinfer1::IPluginV3OneCore,
                        public nvinfer1::IPluginV3OneBuild,
                        public nvinfer1::IPluginV3OneRuntime {
public:
    explicit QuickGelu(Node const& node) : mNode(node) {}

    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
        switch (type) {
        case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
        case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
        case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }
    nvinfer1::IPluginV3* clone() noexcept override {
        return new (std::nothrow) QuickGelu(mNode);
    }
    char const* getPluginName() const noexcept override {
        return kName;
    }
    char const* getPluginVersion() const noexcept override {
        return kVersion;
    }
    char const* getPluginNamespace() const noexcept override {
        return kNamespace;
    }
    int32_t getNbOutputs() const noexcept override {
        return 1;
    }
    int32_t configurePlugin(DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*, int32_t) noexcept override {
        return 0;
    }
    bool supportsFormatCombination(
        int32_t pos, DynamicPluginTensorDesc const* inOut, int32_t nbInputs, int32_t nbOutputs) noexcept override {
        if (nbInputs != 1 || nbOutputs != 1) {
            return false;
        }
        if (pos == 0) {
            return supported(mNode.settings, inOut[0].desc.type, inOut[0].desc.format);
        }
        return inOut[1].desc.type == inOut[0].desc.type && inOut[1].desc.format == inOut[0].desc.format;
    }
    int32_t getOutputDataTypes(DataType* outputTypes, int32_t nbOutputs, DataType const* inputTypes, int32_t nbInputs) const noexcept override {
        if (nbInputs != 1 || nbOutputs != 1) {
            report("takes one input and gives one output.");
            return 1;
        }
        // in a strongly typed network this is the place where a wrong type shows
        bool const fits = mNode.settings.quantised() ? inputTypes[0] == DataType::kINT8
                                                : inputTypes[0] == DataType::kFLOAT || inputTypes[0] == DataType::kHALF
                || inputTypes[0] == DataType::kINT8;
        if (!fits) {
            report(std::string("its input is ") + typeName(inputTypes[0]) + ", and "
                + (mNode.settings.quantised() ? "INT8 (it has scales)" : "FP32 or FP16") + " was expected.");
            return 1;
        }
        outputTypes[0] = inputTypes[0];
        return 0;
    }
    int32_t getOutputShapes(DimsExprs const* inputs, int32_t, DimsExprs const*, int32_t, DimsExprs* outputs, int32_t,
        IExprBuilder&) noexcept override {
        outputs[0] = inputs[0];
        return 0;
    }
    size_t getWorkspaceSize(DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*, int32_t) const noexcept override {
        return 0;
    }
    char const* getTimingCacheID() noexcept override {
        return mNode.settings.quantised() ? "ProfilerQuickGelu/1/int8" : "ProfilerQuickGelu/1";
    }
    int32_t onShapeChange(PluginTensorDesc const*, int32_t, PluginTensorDesc const*, int32_t) noexcept override {
        return 0;
    }
    int32_t enqueue(PluginTensorDesc const* inputDesc, PluginTensorDesc const* outputDesc, void const* const* inputs, void* const* outputs,
        void*, cudaStream_t stream) noexcept override {
        return run(mNode, inputDesc[0], outputDesc[0], inputs[0], outputs[0], stream);
    }
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override {
        return clone();
    }
    PluginFieldCollection const* getFieldsToSerialize() noexcept override {
        mStored[0] = {"alpha", &mNode.settings.alpha, PluginFieldType::kFLOAT32, 1};
        mStored[1] = {"input_scale", &mNode.settings.inputScale, PluginFieldType::kFLOAT32, 1};
        mStored[2] = {"output_scale", &mNode.settings.outputScale, PluginFieldType::kFLOAT32, 1};
        mCollection = {3, mStored};
        return &mCollection;
    }

private:
    Node mNode;
    PluginField mStored[3];
    PluginFieldCollection mCollection{};
};

class Creator final : public nvinfer1::IPluginCreatorV3One {
public:
    nvinfer1::IPluginV3* createPlugin(
        char const*, PluginFieldCollection const* fields, nvinfer1::TensorRTPhase) noexcept override {
        Settings settings;
        return read(fields, settings) ? new (std::nothrow) QuickGelu(Node(settings)) : nullptr;
    }
    PluginFieldCollection const* getFieldNames() noexcept override {
        return fieldNames();
    }
    char const* getPluginName() const noexcept override {
        return kName;
    }
    char const* getPluginVersion() const noexcept override {
        return kVersion;
    }
    char const* getPluginNamespace() const noexcept override {
        return kNamespace;
    }
};

#endif

// getInferLibVersion() counts major * 1000 + minor * 100 + patch up to TensorRT 9, and major * 10000 + minor * 100 + patch since.
int32_t majorOf(int32_t version) {
    return version >= 10000 ? version / 10000 : version / 1000;
}

std::string registerCreator() {
    using Registry = nvinfer1::IPluginRegistry* (*) ();
    using Version = int32_t (*)();
    auto const version = find<Version>("getInferLibVersion");
    if (version == nullptr) {
        return "TensorRT is not loaded in this process";
    }
    if (majorOf(version()) != NV_TENSORRT_MAJOR) {
        return "compiled for TensorRT " + std::string(profiler_plugin_tensorrt()) + ", and this process runs TensorRT "
            + std::to_string(majorOf(version()));
    }
    auto const registry = find<Registry>("getPluginRegistry");
    nvinfer1::IPluginRegistry* const target = registry != nullptr ? registry() : nullptr;
    if (target == nullptr) {
        return "this process's TensorRT has no plugin registry";
    }
    static Creator creator;
    return target->registerCreator(creator, kNamespace) ? "registered" : "TensorRT refused the plugin: is it registered already?";
}

struct Registrar {
    Registrar() {
        gStatus = registerCreator();
    }
} const gRegistrar;

}  // namespace
#endif
