// combine.cu - merges the splits of a query head and writes its output and log-sum-exp:
//
//   M = max m_i,  f_i = 2^(m_i - M),  l = sum f_i l_i,  output = RN16((sum f_i o_i) / l),
//   lse = ln 2 (M + log2 l)
//
// in order of the splits, every step rounded to f32. An empty split has m_i = empty_max and l_i =
// o_i = 0: it adds exact zeros. A request without tokens gives output 0 and lse -Inf.
#include "decode_arguments.h"
#include "softmax_state.h"

namespace kvproof {

// One block for each (query head, request of the table), one thread for each channel.
DEV_KERNEL(head_size) combine_kernel(const DecodeArguments args) {
  const uint32_t channel = dev::thread_x();
  const uint32_t query_head = dev::block_x();
  const uint32_t request = args.requests.first + dev::block_y();
  const size_t first = args.partial_index(request, query_head);
  const float2* softmax = args.partial_softmax + first;     // (splits): maximum, sum
  const float* partial = args.partial + first * head_size;  // (splits, 128)
  float largest = empty_max;
  for (uint32_t i = 0; i < args.splits; i++) largest = dev::max_num(largest, softmax[i].x);
  float o = 0, l = 0;
  for (uint32_t i = 0; i < args.splits; i++) {
    const float factor = dev::ex2(dev::sub_rn(softmax[i].x, largest));
    l = dev::fma_rn(factor, softmax[i].y, l);
    o = dev::fma_rn(factor, partial[i * head_size + channel], o);
  }
  const size_t row = static_cast<size_t>(request) * args.query_heads + query_head;
  const bool empty = args.requests.row[dev::block_y()].tokens == 0;
  args.output[row * head_size + channel] = empty ? 0 : dev::f16_from_f32(dev::div_rn(o, l));
  if (channel == 0) {
    const float log2_sum = dev::add_rn(largest, log2_of(l));
    args.lse[row] = empty ? dev::f32_from_bits(0xff800000u) : dev::mul_rn(ln_2, log2_sum);
  }
}

dev::Status launch_combine(const DecodeArguments& args, void* stream) {
  dev::Launch shape;
  shape.grid = {args.query_heads, args.requests.count, 1};
  shape.threads = head_size;
  shape.stream = stream;
  return dev::launch(combine_kernel, shape, args);
}

}  // namespace kvproof
