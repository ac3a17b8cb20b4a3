// Stands in for libnvinfer where TensorRT's Python bindings are checked: a plugin registry that keeps what is registered, and the calls that
// the ONNX parser and the builder make to a plugin that tensorrt.plugin defines. Compiled against TensorRT's own headers, so everything goes
// through the bindings as it does in TensorRT. No GPU.
#include <cstdint>
#include <cstring>
#include <deque>
#include <sstream>
#include <string>
#include <vector>

#include <NvInfer.h>
#include <impl/NvInferPythonPlugin.h>

using namespace nvinfer1;

namespace {

struct Registry final : IPluginRegistry {
    std::vector<IPluginCreatorInterface*> creators;

    static IPluginCreatorV3Quick* quick(IPluginCreatorInterface* creator) {
        bool const is = std::strcmp(creator->getInterfaceInfo().kind, "PLUGIN CREATOR_V3QUICK") == 0;
        return is ? static_cast<IPluginCreatorV3Quick*>(creator) : nullptr;
    }
    bool registerCreator(IPluginCreatorInterface& creator, AsciiChar const*) noexcept override {
        creators.push_back(&creator);
        return true;
    }
    IPluginCreatorInterface* const* getAllCreators(int32_t* count) const noexcept override {
        *count = static_cast<int32_t>(creators.size());
        return creators.data();
    }
    IPluginCreatorInterface* const* getAllCreatorsRecursive(int32_t* count) noexcept override {
        return getAllCreators(count);
    }
    IPluginCreatorInterface* getCreator(AsciiChar const* name, AsciiChar const* version, AsciiChar const* space) noexcept override {
        for (auto* creator : creators) {
            auto* found = quick(creator);
            if (found != nullptr && std::string(found->getPluginName()) == name && std::string(found->getPluginVersion()) == version
                && std::string(found->getPluginNamespace()) == space) {
                return creator;
            }
        }
        return nullptr;
    }
    bool deregisterCreator(IPluginCreatorInterface const&) noexcept override { return false; }
    void setErrorRecorder(IErrorRecorder*) noexcept override {}
    IErrorRecorder* getErrorRecorder() const noexcept override { return nullptr; }
    bool isParentSearchEnabled() const override { return false; }
    void setParentSearchEnabled(bool) override {}
    PluginLibraryHandle loadLibrary(AsciiChar const*) noexcept override { return nullptr; }
    void deregisterLibrary(PluginLibraryHandle) noexcept override {}
    IPluginResource* acquirePluginResource(AsciiChar const*, IPluginResource*) noexcept override { return nullptr; }
    int32_t releasePluginResource(AsciiChar const*) noexcept override { return 0; }
#if NV_TENSORRT_MAJOR == 10
    bool registerCreator(IPluginCreator&, AsciiChar const*) noexcept override { return false; }
    IPluginCreator* const* getPluginCreatorList(int32_t* count) const noexcept override {
        *count = 0;
        return nullptr;
    }
    IPluginCreator* getPluginCreator(AsciiChar const*, AsciiChar const*, AsciiChar const*) noexcept override { return nullptr; }
    bool deregisterCreator(IPluginCreator const&) noexcept override { return false; }
#endif
};

// An expression of dimensions: a number, the batch (open until it is evaluated), or an operation.
struct Expression final : IDimensionExpr {
    struct Implementation final : apiv::VDimensionExpr {
        Expression* owner = nullptr;
        bool isConstant() const override { return owner->constant; }
        int64_t getConstantValue() const override { return owner->constant ? owner->value : INT32_MIN; }
        bool isSizeTensor() const override { return false; }
    } implementation;
    bool constant = true;
    int64_t value = 0;
    bool operation = false;
    DimensionOperation kind = DimensionOperation::kSUM;
    Expression const* first = nullptr;
    Expression const* second = nullptr;

    Expression() {
        implementation.owner = this;
        mImpl = &implementation;
    }
    int64_t evaluate(int64_t batch) const {
        if (!operation) {
            return constant ? value : batch;
        }
        int64_t const a = first->evaluate(batch);
        int64_t const b = second->evaluate(batch);
        switch (kind) {
        case DimensionOperation::kSUM: return a + b;
        case DimensionOperation::kPROD: return a * b;
        case DimensionOperation::kMAX: return a > b ? a : b;
        case DimensionOperation::kMIN: return a < b ? a : b;
        case DimensionOperation::kSUB: return a - b;
        case DimensionOperation::kEQUAL: return a == b;
        case DimensionOperation::kLESS: return a < b;
        case DimensionOperation::kFLOOR_DIV: return a / b;
        case DimensionOperation::kCEIL_DIV: return (a + b - 1) / b;
        default: return INT32_MIN;
        }
    }
};

struct Builder final : IExprBuilder {
    struct Implementation final : apiv::VExprBuilder {
        Builder* owner = nullptr;
        IDimensionExpr const* constant(int64_t value) override { return owner->number(value); }
        IDimensionExpr const* operation(DimensionOperation kind, IDimensionExpr const& a, IDimensionExpr const& b) override {
            auto& made = owner->store.emplace_back();
            made.operation = true;
            made.kind = kind;
            made.first = static_cast<Expression const*>(&a);
            made.second = static_cast<Expression const*>(&b);
            made.constant = made.first->constant && made.second->constant;
            made.value = made.constant ? made.evaluate(0) : 0;
            return &made;
        }
        IDimensionExpr const* declareSizeTensor(int32_t, IDimensionExpr const&, IDimensionExpr const&) override { return nullptr; }
    } implementation;
    std::deque<Expression> store;

    Builder() {
        implementation.owner = this;
        mImpl = &implementation;
    }
    Expression* number(int64_t value) {
        auto& made = store.emplace_back();
        made.value = value;
        return &made;
    }
    Expression* batch() {
        auto& made = store.emplace_back();
        made.constant = false;
        return &made;
    }
};

// What a plugin says of a launch; read when it says so, as its objects need not outlive the call.
struct Scalar {
    Expression const* expression = nullptr;
    int32_t type = -1;

    bool set(ISymExpr* given) {
        expression = static_cast<Expression const*>(static_cast<IDimensionExpr*>(given->getExpr()));
        type = static_cast<int32_t>(given->getDataType());
        return expression != nullptr && given->getType() == PluginArgType::kINT;
    }
};

struct Launch final : IKernelLaunchParams {
    struct Implementation final : IKernelLaunchParamsImpl {
        Scalar values[7];
        ISymExpr* getGridX() noexcept override { return nullptr; }
        bool setGridX(ISymExpr* e) noexcept override { return values[0].set(e); }
        ISymExpr* getGridY() noexcept override { return nullptr; }
        bool setGridY(ISymExpr* e) noexcept override { return values[1].set(e); }
        ISymExpr* getGridZ() noexcept override { return nullptr; }
        bool setGridZ(ISymExpr* e) noexcept override { return values[2].set(e); }
        ISymExpr* getBlockX() noexcept override { return nullptr; }
        bool setBlockX(ISymExpr* e) noexcept override { return values[3].set(e); }
        ISymExpr* getBlockY() noexcept override { return nullptr; }
        bool setBlockY(ISymExpr* e) noexcept override { return values[4].set(e); }
        ISymExpr* getBlockZ() noexcept override { return nullptr; }
        bool setBlockZ(ISymExpr* e) noexcept override { return values[5].set(e); }
        ISymExpr* getSharedMem() noexcept override { return nullptr; }
        bool setSharedMem(ISymExpr* e) noexcept override { return values[6].set(e); }
    } implementation;
    Launch() { mImpl = &implementation; }
};

struct Extra final : ISymExprs {
    struct Implementation final : ISymExprsImpl {
        std::vector<Scalar> values;
        ISymExpr* getSymExpr(int32_t) const noexcept override { return nullptr; }
        bool setSymExpr(int32_t index, ISymExpr* e) noexcept override {
            return index >= 0 && index < getNbSymExprs() && values[static_cast<size_t>(index)].set(e);
        }
        int32_t getNbSymExprs() const noexcept override { return static_cast<int32_t>(values.size()); }
        bool setNbSymExprs(int32_t count) noexcept override {
            values.resize(static_cast<size_t>(count));
            return true;
        }
    } implementation;
    Extra() { mImpl = &implementation; }
};

Registry gRegistry;
std::string gText;
std::string gKernel;

std::string fail(char const* where) {
    return std::string("{\"failed\": \"") + where + "\"}";
}

template <typename Range>
std::string list(Range const& values) {
    std::ostringstream out;
    for (auto const& value : values) {
        out << (out.tellp() == std::streampos(0) ? "" : ", ") << value;
    }
    return "[" + out.str() + "]";
}

std::vector<int64_t> evaluate(Scalar const* values, size_t count, int64_t batch) {
    std::vector<int64_t> result;
    for (size_t i = 0; i < count; ++i) {
        result.push_back(values[i].expression == nullptr ? INT32_MIN : values[i].expression->evaluate(batch));
    }
    return result;
}

// One plugin layer, from the node's attributes to the kernel of each type, layout and tactic. dims[0] is open; `batches` are tried.
std::string layer(char const* name, char const* space, int32_t fieldCount, char const* const* fieldNames, float const* fieldValues,
    int32_t type, int32_t rank, int64_t const* dims, int32_t batchCount, int64_t const* batches) {
    IPluginCreatorInterface* const found = gRegistry.getCreator(name, "1", space);
    if (found == nullptr) {
        return fail("getCreator");
    }
    auto* const creator = Registry::quick(found);
    // the parser hands over those attributes of the node that the creator names, in the creator's order, floats as FLOAT32
    PluginFieldCollection const* const known = creator->getFieldNames();
    std::vector<PluginField> fields;
    for (int32_t i = 0; known != nullptr && i < known->nbFields; ++i) {
        for (int32_t j = 0; j < fieldCount; ++j) {
            if (std::string(known->fields[i].name) == fieldNames[j]) {
                fields.emplace_back(known->fields[i].name, fieldValues + j, PluginFieldType::kFLOAT32, 1);
            }
        }
    }
    PluginFieldCollection const collection{static_cast<int32_t>(fields.size()), fields.data()};
    IPluginV3* const given
        = creator->createPlugin(name, space, &collection, TensorRTPhase::kBUILD, QuickPluginCreationRequest::kUNKNOWN);
    if (given == nullptr) {
        return fail("createPlugin");
    }
    IPluginV3* const plugin = given->clone();  // as a network does
    if (plugin == nullptr) {
        return fail("clone");
    }
    IPluginCapability* const capability = plugin->getCapabilityInterface(PluginCapabilityType::kBUILD);
    if (capability == nullptr || std::strcmp(capability->getInterfaceInfo().kind, "PLUGIN_V3QUICKAOT_BUILD") != 0) {
        return fail("getCapabilityInterface");
    }
    auto* const build = static_cast<IPluginV3QuickAOTBuild*>(capability);
    DataType const inputType = static_cast<DataType>(type);
    DataType outputType{};
    if (build->getNbOutputs() != 1 || build->getOutputDataTypes(&outputType, 1, &inputType, &rank, 1) != 0) {
        return fail("getOutputDataTypes");
    }
    Builder builder;
    DimsExprs input{rank, {}};
    for (int32_t i = 0; i < rank; ++i) {
        input.d[i] = i == 0 ? builder.batch() : builder.number(dims[i]);
    }
    DimsExprs output{};
    if (build->getOutputShapes(&input, 1, nullptr, 0, &output, 1, builder) != 0) {
        return fail("getOutputShapes");
    }
    std::vector<int64_t> outputDims;
    for (int32_t i = 0; i < output.nbDims; ++i) {
        outputDims.push_back(static_cast<Expression const*>(output.d[i])->evaluate(dims[0]));
    }
    DynamicPluginTensorDesc tensors[2]{};
    for (auto& tensor : tensors) {
        tensor.desc.dims.nbDims = tensor.min.nbDims = tensor.opt.nbDims = tensor.max.nbDims = rank;
        for (int32_t i = 0; i < rank; ++i) {
            tensor.min.d[i] = tensor.opt.d[i] = tensor.max.d[i] = dims[i];
            tensor.desc.dims.d[i] = i == 0 ? -1 : dims[i];
        }
        tensor.desc.type = inputType;
        tensor.desc.format = TensorFormat::kLINEAR;
        tensor.desc.scale = 1.0F;
    }
    int32_t const count = build->getNbSupportedFormatCombinations(tensors, 1, 1);
    std::vector<PluginTensorDesc> offered(static_cast<size_t>(2 * (count > 0 ? count : 0)));
    if (count <= 0 || build->getSupportedFormatCombinations(tensors, 1, 1, offered.data(), count) != 0) {
        return fail("getSupportedFormatCombinations");
    }
    std::ostringstream kernels;
    for (int32_t i = 0; i < count; ++i) {
        for (int32_t side = 0; side < 2; ++side) {
            tensors[side].desc.type = offered[static_cast<size_t>(2 * i + side)].type;
            tensors[side].desc.format = offered[static_cast<size_t>(2 * i + side)].format;
        }
        if (build->configurePlugin(tensors, 1, tensors + 1, 1) != 0) {
            return fail("configurePlugin");
        }
        std::vector<int32_t> tactics(static_cast<size_t>(build->getNbTactics()));
        if (!tactics.empty() && build->getValidTactics(tactics.data(), static_cast<int32_t>(tactics.size())) != 0) {
            return fail("getValidTactics");
        }
        if (tactics.empty()) {
            tactics.push_back(0);
        }
        for (int32_t const tactic : tactics) {
            Launch launch;
            Extra extra;
            char const* kernelName = nullptr;
            char* kernel = nullptr;
            int32_t size = 0;
            if (build->setTactic(tactic) != 0 || build->getLaunchParams(&input, tensors, 1, 1, &launch, &extra, builder) != 0) {
                return fail("getLaunchParams");
            }
            PluginTensorDesc const in = tensors[0].desc;
            PluginTensorDesc const out = tensors[1].desc;
            if (build->getKernel(&in, 1, &out, 1, &kernelName, &kernel, &size) != 0 || kernelName == nullptr || kernel == nullptr) {
                return fail("getKernel");
            }
            gKernel.assign(kernel, static_cast<size_t>(size));
            auto const& values = extra.implementation.values;
            std::vector<int32_t> argumentTypes;
            for (auto const& value : values) {
                argumentTypes.push_back(value.type);
            }
            kernels << (kernels.tellp() == std::streampos(0) ? "" : ", ") << "{\"types\": ["
                    << static_cast<int32_t>(in.type) << ", " << static_cast<int32_t>(out.type) << "], \"formats\": ["
                    << static_cast<int32_t>(in.format) << ", " << static_cast<int32_t>(out.format) << "], \"tactic\": " << tactic
                    << ", \"name\": \"" << kernelName << "\", \"argument_types\": " << list(argumentTypes) << ", \"launches\": [";
            for (int32_t b = 0; b < batchCount; ++b) {
                kernels << (b == 0 ? "" : ", ") << "{\"batch\": " << batches[b] << ", \"launch\": "
                        << list(evaluate(launch.implementation.values, 7, batches[b])) << ", \"extra\": "
                        << list(evaluate(values.data(), values.size(), batches[b])) << "}";
            }
            kernels << "]}";
        }
    }
    return "{\"output_type\": " + std::to_string(static_cast<int32_t>(outputType)) + ", \"output_dims\": " + list(outputDims)
        + ", \"kernels\": [" + kernels.str() + "]}";
}

}  // namespace

#define HOST extern "C" __attribute__((visibility("default")))

HOST IPluginRegistry* getPluginRegistry() noexcept {
    return &gRegistry;
}
HOST IPluginRegistry* getBuilderPluginRegistry(EngineCapability) noexcept {
    return &gRegistry;
}
HOST void* createInferBuilder_INTERNAL(void*, int32_t) noexcept {
    return nullptr;
}
HOST void* createInferRefitter_INTERNAL(void*, void*, int32_t) noexcept {
    return nullptr;
}
HOST void* createInferRuntime_INTERNAL(void*, int32_t) noexcept {
    return nullptr;
}
// See layer(); the result is JSON, with "failed" naming the call that the plugin refused.
HOST char const* host_layer(char const* name, char const* space, int32_t fieldCount, char const* const* fieldNames,
    float const* fieldValues, int32_t type, int32_t rank, int64_t const* dims, int32_t batchCount, int64_t const* batches) {
    gText = layer(name, space, fieldCount, fieldNames, fieldValues, type, rank, dims, batchCount, batches);
    return gText.c_str();
}
// The last kernel that a plugin handed over.
HOST char const* host_kernel(int32_t* size) {
    *size = static_cast<int32_t>(gKernel.size());
    return gKernel.data();
}
