// combine.cu - merges the splits of a query row (result.h has the last step):
//
//   M = max m_i,  f_i = 2^(m_i - M),  l = sum f_i l_i,  o = sum f_i o_i
//
// in order of the splits, every step rounded to f32. An empty split has m_i = empty_max and l_i =
// o_i = 0: it adds exact zeros. With one split all of this is exact, and decode skips it.
#include "result.h"
#include "softmax_state.h"

namespace kvproof {

// One block for each (query row of a KV head, request of the table), one thread for each channel.
// Each lane of a warp makes the factor of one split of 32, and 32 outputs are loaded at once.
DEV_KERNEL(head_size_max) combine_kernel(const DecodeArguments args) {
  const uint32_t channel = dev::thread_x(), lane = channel % 32;
  const uint32_t kv_head = dev::block_x() / args.query_rows;
  const uint32_t query_row = dev::block_x() % args.query_rows;
  const size_t first = args.partial_index(args.requests.first + dev::block_y(), kv_head, query_row);
  const float2* softmax = args.partial_softmax + first;                    // (splits): maximum, sum
  const float* partial = args.partial + first * args.head_size + channel;  // (splits, D)
  float o_of[32];
  float2 own;  // of a split; nothing behind the last one
  const auto load = [&](uint32_t start) {
    own = start + lane < args.splits ? softmax[start + lane] : make_float2(empty_max, 0);
    DEV_UNROLL
    for (uint32_t i = 0; i < 32; i++) {
      o_of[i] = start + i < args.splits ? partial[(start + i) * args.head_size] : 0;
    }
  };
  dev::wait_for_previous_launch();
  load(0);  // before the maximum is known: there are seldom more
  float largest = own.x;
  for (uint32_t i = lane + 32; i < args.splits; i += 32) {
    largest = dev::max_num(largest, softmax[i].x);
  }
  DEV_UNROLL
  for (int offset = 1; offset < 32; offset *= 2) {
    largest = dev::max_num(largest, dev::shfl_xor(largest, offset));
  }
  float o = 0, l = 0;
  for (uint32_t start = 0; start < args.splits; start += 32) {
    if (start > 0) load(start);
    const float factor = dev::ex2(dev::sub_rn(own.x, largest));
    DEV_UNROLL
    for (int i = 0; i < 32; i++) {
      const float f = dev::shfl(factor, i);
      l = dev::fma_rn(f, dev::shfl(own.y, i), l);
      o = dev::fma_rn(f, o_of[i], o);
    }
  }
  write_result(args, dev::block_y(), kv_head, query_row, channel, o, l, largest);
}

dev::Status launch_combine(const DecodeArguments& args, void* stream) {
  const dev::Grid grid{args.kv_heads * args.query_rows, args.requests.count, 1};
  const dev::Launch shape{grid, args.head_size, 0, stream, true};
  return dev::launch(combine_kernel, shape, args);
}

}  // namespace kvproof
