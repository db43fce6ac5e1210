// decode_plain.cu - decode attention as one would write it first: dequantise, dot product, online
// softmax, weighted sum. One block for each query head, one thread for each token of a chunk in the
// scores and for each channel in the outputs; no tensor cores, no splits, f32 throughout.
//
// It is the second opinion in kernels_test.cpp, and says what decode.cu computes. It is not
// exposed.
#include "decode_arguments.h"
#include "softmax_state.h"

namespace kvproof {

// K or V of a packed record, dequantised: code scale + zero.
template <class R>
DEV_FN float element_k(const uint8_t* record, int token, int channel) {
  const uint32_t* words = reinterpret_cast<const uint32_t*>(record);
  const uint16_t* parameters =
      reinterpret_cast<const uint16_t*>(record + R::word_bytes + token / R::group * 512);
  const uint32_t code =
      words[code_word<R::bits>(token, channel)] >> code_bit<R::bits>(token, channel) & R::code_max;
  const int i = k_parameter_index(channel);
  return dev::fma_rn(static_cast<float>(code), dev::f32_from_f16(parameters[i]),
                     dev::f32_from_f16(parameters[128 + i]));
}
template <class R>
DEV_FN float element_v(const uint8_t* record, int token, int channel) {
  const uint32_t* words = reinterpret_cast<const uint32_t*>(record + R::half_bytes);
  const uint32_t* parameters = words + R::word_bytes / 4 + channel / R::group * record_tokens;
  const uint32_t code =
      words[code_word<R::bits>(channel, token)] >> code_bit<R::bits>(channel, token) & R::code_max;
  const float2 scale_zero = dev::h2unpack(parameters[token]);
  return dev::fma_rn(static_cast<float>(code), scale_zero.x, scale_zero.y);
}

template <class R>
DEV_KERNEL(head_size)
decode_plain_kernel(const DecodeArguments args) {
  using Chunk = float[record_tokens];
  DEV_SHARED(Chunk, scores);
  const int thread = dev::thread_x();
  const uint32_t query_head = dev::block_x(), kv_head = query_head / args.group_size();
  const Request& request = args.requests.row[dev::block_y()];
  const size_t request_index = args.requests.first + dev::block_y();
  const size_t row = request_index * args.query_heads + query_head;
  const uint16_t* q = args.q + row * head_size;  // (128)
  float largest = empty_max, sum = 0, o = 0;     // o: of channel `thread`
  for (uint32_t first = 0; first < request.tokens; first += record_tokens) {
    const int count = request.tokens - first < record_tokens ? request.tail() : record_tokens;
    const bool packed = count == record_tokens;
    const uint8_t* record =
        args.cache + ((request.first_page + first / record_tokens) * args.kv_heads + kv_head) *
                         static_cast<size_t>(R::bytes);
    const size_t window = request_index * record_tokens;  // token 0 of the residual window
    float score = 0;
    for (int d = 0; d < head_size && thread < count; d++) {
      const size_t residual = ((window + thread) * args.kv_heads + kv_head) * head_size + d;
      const float k =
          packed ? element_k<R>(record, thread, d) : dev::f32_from_f16(args.k_residual[residual]);
      score = dev::fma_rn(dev::f32_from_f16(q[d]), k, score);
    }
    scores[thread] = dev::mul_rn(score, args.k2);
    dev::syncthreads();
    for (int t = 0; t < count; t++) {
      const size_t residual = ((window + t) * args.kv_heads + kv_head) * head_size + thread;
      const float v =
          packed ? element_v<R>(record, t, thread) : dev::f32_from_f16(args.v_residual[residual]);
      const float before = largest;
      largest = dev::max_num(largest, scores[t]);
      const float decay = dev::ex2(dev::sub_rn(before, largest));
      const float p = dev::ex2(dev::sub_rn(scores[t], largest));
      sum = dev::fma_rn(sum, decay, p);
      o = dev::fma_rn(o, decay, dev::mul_rn(p, v));
    }
    dev::syncthreads();
  }
  const bool empty = request.tokens == 0;
  args.output[row * head_size + thread] = empty ? 0 : dev::f16_from_f32(dev::div_rn(o, sum));
  if (thread == 0) {
    const float lse = dev::mul_rn(ln_2, dev::add_rn(largest, log2_of(sum)));
    args.lse[row] = empty ? dev::f32_from_bits(0xff800000u) : lse;
  }
}

// ---- launcher ----

dev::Status launch_decode_plain(const kvp_problem& problem, const kvp_buffers& buffers,
                                void* stream) {
  DecodeArguments args = decode_arguments(problem, buffers, 1);
  return for_each_request_table(problem, [&](const RequestTable& table) {
    args.requests = table;
    dev::Launch shape;
    shape.grid = {args.query_heads, table.count, 1};
    shape.threads = head_size;
    shape.stream = stream;
    return with_record(problem.bits, problem.group, [&](auto record) {
      return dev::launch(decode_plain_kernel<decltype(record)>, shape, args);
    });
  });
}

}  // namespace kvproof
