// decode_plain.cu - decode attention as one would write it first: dequantise, dot product, online
// softmax, weighted sum. One block for each query row, one thread for each token of a chunk in the
// scores and for one or two channels in the outputs; no tensor cores, no splits, f32 throughout.
// plain_record.h reads the layout.
//
// It is the second opinion in kernels_test.cpp, and says what decode.cu computes. It is not
// exposed.
#include "plain_record.h"
#include "result.h"
#include "softmax_state.h"

namespace kvproof {

constexpr int plain_channels = head_size_max / record_tokens;  // of a thread, at most

DEV_KERNEL(record_tokens) decode_plain_kernel(const DecodeArguments args, uint32_t bits) {
  using Chunk = float[record_tokens];
  DEV_SHARED(Chunk, scores);
  const int thread = dev::thread_x(), channels = static_cast<int>(args.head_size);
  const uint32_t kv_head = dev::block_x() / args.query_rows;
  const uint32_t query_row = dev::block_x() % args.query_rows, heads = args.heads_per_kv;
  const Request& request = args.requests.row[dev::block_y()];
  const size_t request_index = args.requests.first + dev::block_y();
  const uint16_t* q =
      args.q + (request_index * args.query_tokens + query_row / heads) * args.q_strides.token +
      (kv_head * heads + query_row % heads) * args.q_strides.head;
  const int seen = args.seen(request, query_row);
  float largest = empty_max, sum = 0, o[plain_channels] = {};
  for (int first = 0; first < seen; first += record_tokens) {
    const int count = seen - first < record_tokens ? seen - first : record_tokens;
    const uint32_t record = first / record_tokens;
    const auto element = [&](bool is_v, int token, int channel) {
      if (record < request.records()) {
        const uint8_t* half = args.half(is_v, dev::block_y(), record, kv_head);
        return plain_element(args, bits, half, is_v, token, channel);
      }
      const uint16_t* window = args.window(is_v, dev::block_y(), kv_head);
      return plain_number(window[token * args.window_stride() + channel], args.is_bf16);
    };
    float score = 0;
    for (int d = 0; d < channels && thread < count; d++) {
      score = dev::fma_rn(plain_number(q[d], args.is_bf16), element(false, thread, d), score);
    }
    scores[thread] = dev::mul_rn(score, args.k2);
    dev::syncthreads();
    for (int t = 0; t < count; t++) {
      const float before = largest;
      largest = dev::max_num(largest, scores[t]);
      const float decay = dev::ex2(dev::sub_rn(before, largest));
      const float p = dev::ex2(dev::sub_rn(scores[t], largest));
      sum = dev::fma_rn(sum, decay, p);
      DEV_UNROLL
      for (int i = 0; i < plain_channels; i++) {
        const int channel = thread + i * record_tokens;
        if (channel >= channels) continue;
        o[i] = dev::fma_rn(o[i], decay, dev::mul_rn(p, element(true, t, channel)));
      }
    }
    dev::syncthreads();
  }
  DEV_UNROLL
  for (int i = 0; i < plain_channels; i++) {
    const int channel = thread + i * record_tokens;
    if (channel >= channels) continue;
    write_result(args, dev::block_y(), kv_head, query_row, channel, o[i], sum, largest);
  }
}

// ---- launcher ----

dev::Status launch_decode_plain(const kvp_problem& problem, const kvp_buffers& buffers,
                                void* stream) {
  DecodeArguments args = decode_arguments(problem, buffers, 1);
  return for_each_request_table(problem, [&](const RequestTable& table) {
    args.requests = table;
    const dev::Grid grid{args.kv_heads * args.query_rows, table.count, 1};
    const dev::Launch shape{grid, record_tokens, 0, stream};
    return dev::launch(decode_plain_kernel, shape, args, problem.bits);
  });
}

}  // namespace kvproof
