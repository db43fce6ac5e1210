// quantize_plain.cu - quantize and dequantize as one would write them first.
//
// quantize: a thread takes a group after another, and adds each code to its word; the second
// opinion in pack_test.cpp, not exposed. dequantize is exposed: it reads one code after another,
// since nothing waits for it; the value of a code is RN(fma(code, scale, zero)), rounded to f32 and
// then to the type of the problem. Words of the window, and of 16-bit records, are copied.
#include "plain_record.h"
#include "quantize_group.h"

namespace kvproof {

// Rows of 16-bit words, one block.
DEV_FN void copy_words(uint16_t* to, size_t to_stride, const uint16_t* from, size_t from_stride,
                       uint32_t rows, uint32_t row_words) {
  for (uint32_t i = dev::thread_x(); i < rows * row_words; i += record_tokens) {
    const size_t row = i / row_words, at = i % row_words;
    to[row * to_stride + at] = from[row * from_stride + at];
  }
}

DEV_FN uint32_t code_by_the_spec(float x, const GroupParameters& p, int code_max) {
  const float t = dev::mul_rn(dev::sub_rn(x, p.min), p.inverse);  // >= 0, or NaN
  const float whole = dev::trunc_toward_zero(t);
  const float rounded = dev::sub_rn(t, whole) >= 0.5f ? dev::add_rn(whole, 1.0f) : whole;
  const float clamped = dev::min_num(dev::max_num(rounded, 0.0f), static_cast<float>(code_max));
  return static_cast<uint32_t>(dev::i32_from_f32(clamped));
}

DEV_KERNEL(record_tokens) quantize_plain_kernel(const QuantizeArguments args, uint32_t bits) {
  const uint32_t record = dev::block_x(), row = dev::block_z(), kv_head = dev::block_y() / 2;
  const bool is_v = dev::block_y() % 2 == 1, per_channel = !is_v && !args.k_per_token;
  const Request& request = args.requests.row[row];
  const int thread = dev::thread_x(), head_size = args.head_size, code_max = (1 << bits) - 1;
  if (record < request.kept_records || record > request.records()) return;
  const uint16_t* x = args.source(is_v, request.first_token + record * record_tokens, kv_head);
  const size_t stride = args.token_stride(is_v);
  if (record == request.records()) {
    copy_words(args.window(is_v, row, kv_head), args.window_stride(), x, stride, request.tail(),
               head_size);
    return;
  }
  uint8_t* half = args.half(is_v, row, record, kv_head);
  if (bits == 16) {
    copy_words(reinterpret_cast<uint16_t*>(half), head_size, x, stride, record_tokens, head_size);
    return;
  }
  uint32_t* words = reinterpret_cast<uint32_t*>(half);
  uint16_t* parameters = reinterpret_cast<uint16_t*>(half + args.record.word_bytes);
  for (uint32_t i = thread; i < args.record.word_bytes / 4; i += record_tokens) words[i] = 0;
  dev::syncthreads();
  const int group = per_channel ? static_cast<int>(args.group) : args.channel_group();
  for (int i = thread; i < record_tokens * head_size / group; i += record_tokens) {
    // Element j of the group is (token + j or token, channel or channel + j).
    const int token = per_channel ? i / head_size * group : i % record_tokens;
    const int channel = per_channel ? i % head_size : i / record_tokens * group;
    const auto value = [&](int j) {
      const size_t t = token + (per_channel ? j : 0), c = channel + (per_channel ? 0 : j);
      return plain_number(x[t * stride + c], args.is_bf16);
    };
    float max = dev::f32_from_bits(0xff800000u), min = dev::f32_from_bits(0x7f800000u);
    for (int j = 0; j < group; j++) {
      max = dev::max_num(max, value(j));
      min = dev::min_num(min, value(j));
    }
    const GroupParameters p = group_parameters(max, min, code_max);
    for (int j = 0; j < group; j++) {
      const PlainPlace place = plain_place(args, bits, is_v, token + (per_channel ? j : 0),
                                           channel + (per_channel ? 0 : j));
      const uint32_t code = code_by_the_spec(value(j), p, code_max);
      if (code != 0) dev::atomic_add(&words[place.word], code << place.bit);
      parameters[place.scale] = p.scale;
      parameters[place.zero] = p.zero;
    }
  }
}

struct DequantizeArguments : CacheArguments {
  uint16_t* k_out;  // (tokens of all requests, kv_heads, D)
  uint16_t* v_out;  // as k_out
};

DEV_KERNEL(record_tokens) dequantize_kernel(const DequantizeArguments args, uint32_t bits) {
  const uint32_t record = dev::block_x(), row = dev::block_z(), kv_head = dev::block_y() / 2;
  const bool is_v = dev::block_y() % 2 == 1;
  const Request& request = args.requests.row[row];
  const uint32_t head_size = args.head_size;
  if (record > request.records()) return;
  const size_t stride = args.window_stride();  // of the outputs too
  uint16_t* to = (is_v ? args.v_out : args.k_out) +
                 (request.first_token + record * record_tokens) * stride + kv_head * head_size;
  const uint16_t* window = args.window(is_v, row, kv_head);
  if (record == request.records())
    return copy_words(to, stride, window, stride, request.tail(), head_size);
  const uint8_t* half = args.half(is_v, row, record, kv_head);
  const uint16_t* numbers = reinterpret_cast<const uint16_t*>(half);
  if (bits == 16) return copy_words(to, stride, numbers, head_size, record_tokens, head_size);
  for (uint32_t i = dev::thread_x(); i < record_tokens * head_size; i += record_tokens) {
    const float value = plain_element(args, bits, half, is_v, i / head_size, i % head_size);
    to[i / head_size * stride + i % head_size] =
        args.is_bf16 ? dev::bf16_from_f32(value) : dev::f16_from_f32(value);
  }
}

// ---- launchers: a block for each half of a record, and two for the tail ----

template <class Args>
static dev::Status launch_plain(void (*kernel)(Args, uint32_t), const kvp_problem& problem,
                                Args args, void* stream) {
  return for_each_request_table(problem, [&](const RequestTable& table) {
    args.requests = table;
    const dev::Launch shape{
        {records_max(table) + 1, 2 * args.kv_heads, table.count}, record_tokens, 0, stream};
    return dev::launch(kernel, shape, args, problem.bits);
  });
}

dev::Status launch_quantize_plain(const kvp_problem& problem, const kvp_buffers& buffers,
                                  void* stream) {
  return launch_plain(quantize_plain_kernel, problem, quantize_arguments(problem, buffers), stream);
}

dev::Status launch_dequantize(const kvp_problem& problem, const kvp_buffers& buffers,
                              void* stream) {
  DequantizeArguments args{};
  set_cache(args, problem, buffers);
  args.k_out = buffers.k_out;
  args.v_out = buffers.v_out;
  return launch_plain(dequantize_kernel, problem, args, stream);
}

}  // namespace kvproof
