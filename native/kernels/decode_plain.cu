// decode_plain.cu - decode attention as one would write it first: dequantise, dot product, online
// softmax, weighted sum. One block for each query row, one thread for each token of a chunk in the
// scores and for one or two channels in the outputs; no tensor cores, no splits, f32 throughout.
// The layout is read by its own formulas, from bits, head size and group at run time.
//
// It is the second opinion in kernels_test.cpp, and says what decode.cu computes. It is not
// exposed.
#include "result.h"
#include "softmax_state.h"

namespace kvproof {

constexpr int plain_channels = head_size_max / record_tokens;  // of a thread, at most

DEV_FN float plain_number(uint16_t bits, bool is_bf16) {
  return is_bf16 ? dev::f32_from_bf16(bits) : dev::f32_from_f16(bits);
}

// Code (row, column) of a packed matrix with `columns` columns (record.h).
DEV_FN uint32_t plain_code(const uint32_t* words, uint32_t bits, int columns, int row, int column) {
  const int step = column / 16, upper = column % 16 / 8, lower_row = row % 16 / 8;
  const int lane = row % 8 * 4 + column % 8 / 2;
  const int lane_words = columns / 16 * static_cast<int>(bits) / 4;
  const int unit = lane_words < 4 ? lane_words : 4;
  int word = step, bit = upper * 4;  // 4 bits
  if (bits == 2) {
    word = step / 2;
    bit = step % 2 * 4 + upper * 2;
  } else if (bits == 8) {
    word = step * 2 + upper;
    bit = 0;
  }
  bit += lower_row * 8 + column % 2 * 16;
  const int index = ((row / 16 * (lane_words / unit) + word / unit) * 32 + lane) * unit;
  return words[index + word % unit] >> bit & ((1u << bits) - 1);
}

// K or V of a packed record, dequantised: code scale + zero.
DEV_FN float plain_element(const DecodeArguments& args, uint32_t bits, const uint8_t* record,
                           bool is_v, int token, int channel) {
  const int channels = static_cast<int>(args.head_size), group = static_cast<int>(args.group);
  if (bits == 16) {
    const uint16_t* numbers = reinterpret_cast<const uint16_t*>(record);
    const int i = (is_v ? record_tokens * channels : 0) + token * channels + channel;
    return plain_number(numbers[i], args.is_bf16);
  }
  const uint8_t* half = record + (is_v ? args.record.k_half_bytes() : 0);
  const uint32_t* words = reinterpret_cast<const uint32_t*>(half);
  const uint16_t* parameters = reinterpret_cast<const uint16_t*>(half + args.record.word_bytes);
  const uint32_t code = is_v ? plain_code(words, bits, record_tokens, channel, token)
                             : plain_code(words, bits, channels, token, channel);
  int scale, zero;
  if (is_v || args.k_per_token) {
    scale = (channel / group * record_tokens + token) * 2;
    zero = scale + 1;
  } else {
    const int r = channel % 16;
    scale = token / group * channels * 2 + (r % 8 / 2 * (channels / 16) + channel / 16) * 4 +
            r / 8 * 2 + r % 2;
    zero = scale + channels;
  }
  return dev::fma_rn(static_cast<float>(code), dev::f32_from_f16(parameters[scale]),
                     dev::f32_from_f16(parameters[zero]));
}

DEV_KERNEL(record_tokens) decode_plain_kernel(const DecodeArguments args, uint32_t bits) {
  using Chunk = float[record_tokens];
  DEV_SHARED(Chunk, scores);
  const int thread = dev::thread_x(), channels = static_cast<int>(args.head_size);
  const uint32_t kv_head = dev::block_x() / args.query_rows;
  const uint32_t query_row = dev::block_x() % args.query_rows, heads = args.heads_per_kv;
  const Request& request = args.requests.row[dev::block_y()];
  const size_t request_index = args.requests.first + dev::block_y();
  const uint16_t* q =
      args.q + (request_index * args.query_tokens + query_row / heads) * args.q_token_stride +
      (kv_head * heads + query_row % heads) * args.q_head_stride;
  const int seen = args.seen(request, query_row);
  float largest = empty_max, sum = 0, o[plain_channels] = {};
  for (int first = 0; first < seen; first += record_tokens) {
    const int count = seen - first < record_tokens ? seen - first : record_tokens;
    const int record_index = first / record_tokens;
    const bool packed = record_index < static_cast<int>(request.records());
    int page = static_cast<int>(request.first_page) + record_index;
    if (packed && args.page_table != nullptr) {
      page = args.page_table[request_index * args.page_table_stride + record_index];
    }
    const uint8_t* record =
        args.cache + (static_cast<size_t>(page) * args.kv_heads + kv_head) * args.record.bytes();
    const auto element = [&](bool is_v, int token, int channel) {
      if (packed) return plain_element(args, bits, record, is_v, token, channel);
      const size_t row = (request_index * record_tokens + token) * args.kv_heads + kv_head;
      const uint16_t* window = is_v ? args.v_residual : args.k_residual;
      return plain_number(window[row * channels + channel], args.is_bf16);
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
    dev::Launch shape;
    shape.grid = {args.kv_heads * args.query_rows, table.count, 1};
    shape.threads = record_tokens;
    shape.stream = stream;
    return dev::launch(decode_plain_kernel, shape, args, problem.bits);
  });
}

}  // namespace kvproof
