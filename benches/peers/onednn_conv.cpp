// One convolution of oneDNN that answers requests: onednn_conv IC,H,W,OC,k,stride
//
// A line N on standard input is answered with N lines, each the milliseconds of one convolution.
// u8 inputs with zero point 0, s8 weights with a scale per output channel, s32 sums, f32 biases,
// ReLU, u8 outputs, padding of half the kernel. oneDNN chooses the layouts of all three tensors;
// bringing data into them is not timed. `onednn_conv --version` names oneDNN's version.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <unordered_map>

#include <oneapi/dnnl/dnnl.hpp>

using dnnl::memory;
using Type = memory::data_type;
using Tag = memory::format_tag;

static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);

// A one-dimensional tensor of one value.
template <typename T>
static memory vector(memory::dim n, Type type, T value) {
    memory m({{n}, type, Tag::a}, engine);
    for (memory::dim i = 0; i < n; i++) static_cast<T *>(m.get_data_handle())[i] = value;
    return m;
}

// A tensor in the layout that the primitive asked for, filled with bytes without a pattern.
static memory noise(const memory::desc &layout) {
    memory m(layout, engine);
    auto *bytes = static_cast<uint8_t *>(m.get_data_handle());
    for (size_t i = 0; i < layout.get_size(); i++) bytes[i] = i * 0x9e3779b97f4a7c15ull >> 37;
    return m;
}

static void answer(memory::dims x, memory::dims w, memory::dims y, memory::dim stride) {
    const memory::dim pad = w[2] / 2, outputs = w[0];
    dnnl::post_ops relu;
    relu.append_eltwise(dnnl::algorithm::eltwise_relu, 0, 0);
    dnnl::primitive_attr attributes;
    attributes.set_post_ops(relu);
    attributes.set_scales_mask(DNNL_ARG_SRC, 0);
    attributes.set_scales_mask(DNNL_ARG_WEIGHTS, 1);
    attributes.set_scales_mask(DNNL_ARG_DST, 0);
    const dnnl::convolution_forward::primitive_desc description(
        engine, dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_direct,
        {x, Type::u8, Tag::any}, {w, Type::s8, Tag::any}, {{outputs}, Type::f32, Tag::a},
        {y, Type::u8, Tag::any}, {stride, stride}, {pad, pad}, {pad, pad}, attributes);
    const dnnl::convolution_forward convolution(description);
    const std::unordered_map<int, memory> arguments{
        {DNNL_ARG_SRC, noise(description.src_desc())},
        {DNNL_ARG_WEIGHTS, noise(description.weights_desc())},
        {DNNL_ARG_BIAS, vector(outputs, Type::f32, 1.0f)},
        {DNNL_ARG_DST, memory(description.dst_desc(), engine)},
        {DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC, vector(1, Type::f32, 0.01f)},
        {DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, vector(outputs, Type::f32, 0.01f)},
        {DNNL_ARG_ATTR_SCALES | DNNL_ARG_DST, vector(1, Type::f32, 0.02f)},
    };
    std::fprintf(stderr, "%s\n", description.impl_info_str());

    dnnl::stream stream(engine);
    for (int n; std::scanf("%d", &n) == 1; std::fflush(stdout)) {
        while (n-- > 0) {
            const auto start = std::chrono::steady_clock::now();
            convolution.execute(stream, arguments);
            stream.wait();
            const std::chrono::duration<double, std::milli> ms = std::chrono::steady_clock::now() - start;
            std::printf("%.6f\n", ms.count());
        }
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && !std::strcmp(argv[1], "--version")) {
        const dnnl_version_t *v = dnnl_version();
        return std::printf("%d.%d.%d\n", v->major, v->minor, v->patch) < 0;
    }
    long ic, h, w, oc, k, s;
    if (argc != 2 || std::sscanf(argv[1], "%ld,%ld,%ld,%ld,%ld,%ld", &ic, &h, &w, &oc, &k, &s) != 6) {
        std::fprintf(stderr, "usage: onednn_conv IC,H,W,OC,k,stride | --version\n");
        return 2;
    }
    const auto out = [&](long side) { return (side + k / 2 * 2 - k) / s + 1; };
    try {
        answer({1, ic, h, w}, {oc, ic, k, k}, {1, oc, out(h), out(w)}, s);
    } catch (const dnnl::error &e) {
        std::fprintf(stderr, "oneDNN: %s\n", e.what());
        return 1;
    }
}
