// torch_kernel.cpp: the arithmetic of torch_kernel.py, as an extension of PyTorch. Replace the two
// functions by calls of your kernels; tensors lie on the GPU where there is one.
#include <torch/extension.h>

#include <tuple>
#include <vector>

constexpr int64_t kBlock = 32;  // channels that share a scale

// x (tokens, head_size) fp16 -> codes (tokens, blocks, 32) int8, scales (tokens, blocks) fp16.
std::vector<torch::Tensor> quantize(const torch::Tensor& x) {
  const auto blocks = x.to(torch::kFloat).reshape({x.size(0), x.size(1) / kBlock, kBlock});
  const auto magnitude = torch::where(torch::isnan(blocks), 0.0f, blocks.abs());
  // A tensor, since PyTorch divides by a number on a GPU as it multiplies with its reciprocal.
  const auto top = torch::full({1}, 127.0f, blocks.options());
  const auto scale = std::get<0>(magnitude.max(2)) / top;
  const auto steps = blocks * torch::where(scale != 0, 1.0f / scale, 0.0f).unsqueeze(2);
  const auto whole = steps.trunc();
  const auto away = torch::where((steps - whole).abs() >= 0.5f, steps.sign(), 0.0f);
  const auto nearest = whole + away;  // half away from zero
  const auto codes = torch::where(nearest.abs() <= 127.0f, nearest, 0.0f);
  return {codes.to(torch::kChar), scale.to(torch::kHalf)};
}

// q (heads, head_size) fp16 over the codes of K and V -> output (heads, head_size), lse (heads).
std::vector<torch::Tensor> attend(const torch::Tensor& q, const torch::Tensor& k_codes,
                                  const torch::Tensor& k_scales, const torch::Tensor& v_codes,
                                  const torch::Tensor& v_scales, double softmax_scale) {
  const auto values = [](const torch::Tensor& codes, const torch::Tensor& scales) {
    return (codes.to(torch::kFloat) * scales.to(torch::kFloat).unsqueeze(2)).flatten(1);
  };
  const auto k = values(k_codes, k_scales), v = values(v_codes, v_scales);
  const auto scores =
      q.to(torch::kFloat).matmul(k.transpose(0, 1)) * static_cast<float>(softmax_scale);
  const auto largest = scores.amax(1, /*keepdim=*/true);
  const auto weights = (scores - largest).exp();
  const auto sum = weights.sum(1, /*keepdim=*/true);
  return {weights.matmul(v) / sum, (largest + sum.log()).squeeze(1)};
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("quantize", &quantize);
  module.def("attend", &attend);
}
