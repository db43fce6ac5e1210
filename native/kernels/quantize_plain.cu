// quantize_plain.cu - quantize and dequantize as one would write them first.
//
// quantize: a thread takes a group after another, codes go through shared memory as bytes, and are
// packed at the end; the second opinion in pack_test.cpp, not exposed. dequantize is exposed: it
// reads one code after another, since nothing waits for it; the value of a code is
// RN(fma(code, scale, zero)), rounded to f32 and then to the type of the problem. Words of the
// window, and of 16-bit records, are copied.
#include "quantize_group.h"

namespace kvproof {

// Where the code (row, column) of a matrix is; lane_words: of the matrix.
template <int BITS>
struct CodePlace {
  int word, bit;
};
template <int BITS>
DEV_FN CodePlace<BITS> code_place(int lane_words, int row, int column) {
  using Matrix = CodeMatrix<BITS, 128, 128>;  // fields do not depend on the size
  const int lane = (row & 7) * 4 + ((column & 7) >> 1);
  const int a = ((row >> 3) & 1) + ((column >> 3) & 1) * 2;
  const int word = Matrix::field_word(column >> 4, a);
  return {lane_word_index(lane_words, row >> 4, word, lane),
          Matrix::field_bit(column >> 4, a, column & 1)};
}

// Where the parameters of (token, channel) are, in 16-bit units from the start of the parameters.
struct ParameterPlace {
  int scale, zero;
};
DEV_FN ParameterPlace parameter_place(bool per_channel, int head_size, int group, int token,
                                      int channel) {
  if (per_channel) {
    const int scale = token / group * 2 * head_size + k_parameter_index(head_size, channel);
    return {scale, scale + head_size};
  }
  const int scale = (channel / group * record_tokens + token) * 2;
  return {scale, scale + 1};
}

DEV_FN uint32_t code_by_the_spec(float x, const GroupParameters& p, int code_max) {
  const float t = dev::mul_rn(dev::sub_rn(x, p.min), p.inverse);  // >= 0, or NaN
  const float whole = dev::trunc_toward_zero(t);
  const float rounded = dev::sub_rn(t, whole) >= 0.5f ? dev::add_rn(whole, 1.0f) : whole;
  const float clamped = dev::min_num(dev::max_num(rounded, 0.0f), static_cast<float>(code_max));
  return static_cast<uint32_t>(dev::i32_from_f32(clamped));
}

template <int BITS>
DEV_KERNEL(record_tokens)
quantize_plain_kernel(const QuantizeArguments args) {
  using Codes = uint8_t[record_tokens][head_size_max];  // (token, channel)
  DEV_SHARED(Codes, codes);
  constexpr int code_max = (1 << BITS) - 1;
  const int thread = dev::thread_x(), head_size = args.head_size;
  const uint32_t record = dev::block_x(), row = dev::block_z();
  const uint32_t kv_head = dev::block_y() / 2;
  const bool is_v = dev::block_y() % 2 == 1, per_channel = !is_v && !args.k_per_token;
  const Request& request = args.requests.row[row];
  if (record < request.kept_records || record > request.records()) return;
  const bool tail = record == request.records();
  const size_t first = request.first_token + static_cast<size_t>(record) * record_tokens;
  const uint16_t* x = args.source(is_v, first, kv_head);
  const size_t stride = args.token_stride(is_v);
  if (tail || BITS == 16) {
    const int tokens = tail ? static_cast<int>(request.tail()) : record_tokens;
    uint16_t* to = tail ? args.window(is_v, row, kv_head)
                        : reinterpret_cast<uint16_t*>(args.half(is_v, row, record, kv_head));
    const size_t to_stride = tail ? static_cast<size_t>(args.kv_heads) * head_size : head_size;
    for (int i = thread; i < tokens * head_size; i += record_tokens) {
      to[i / head_size * to_stride + i % head_size] = x[i / head_size * stride + i % head_size];
    }
    return;
  }
  uint8_t* half = args.half(is_v, row, record, kv_head);
  uint16_t* parameters = reinterpret_cast<uint16_t*>(half + args.record.word_bytes);
  const int group = per_channel ? static_cast<int>(args.group) : args.channel_group();
  for (int i = thread; i < record_tokens * head_size / group; i += record_tokens) {
    // Element j of the group is (token + j or token, channel or channel + j).
    const int token = per_channel ? i / head_size * group : i % record_tokens;
    const int channel = per_channel ? i % head_size : i / record_tokens * group;
    const auto at = [&](int j) {
      const size_t t = token + (per_channel ? j : 0), c = channel + (per_channel ? 0 : j);
      return f32_from_word(x[t * stride + c], args.is_bf16);
    };
    float max = dev::f32_from_bits(0xff800000u), min = dev::f32_from_bits(0x7f800000u);
    for (int j = 0; j < group; j++) {
      max = dev::max_num(max, at(j));
      min = dev::min_num(min, at(j));
    }
    const GroupParameters p = group_parameters(max, min, code_max);
    for (int j = 0; j < group; j++) {
      codes[token + (per_channel ? j : 0)][channel + (per_channel ? 0 : j)] =
          static_cast<uint8_t>(code_by_the_spec(at(j), p, code_max));
    }
    const ParameterPlace place = parameter_place(per_channel, head_size, group, token, channel);
    parameters[place.scale] = p.scale;
    parameters[place.zero] = p.zero;
  }
  dev::syncthreads();
  // A word has 32 / BITS codes; each thread takes whole words, one after another.
  const int steps = (is_v ? record_tokens : head_size) / 16, lane_words = steps * BITS / 4;
  using Matrix = CodeMatrix<BITS == 16 ? 8 : BITS, 128, 128>;
  for (int i = thread; i < record_tokens * head_size * BITS / 32; i += record_tokens) {
    const int lane = i % 32, word = i / 32 % lane_words, row_tile = i / 32 / lane_words;
    uint32_t packed = 0;
    for (int field = 0; field < 32 / BITS; field++) {
      const int step = BITS == 2 ? word * 2 + field / 8 : BITS == 4 ? word : word / 2;
      const int a = BITS == 8 ? word % 2 * 2 + field / 2 : field / 2 % 4, h = field % 2;
      const int r = row_tile * 16 + (lane >> 2) + (a & 1) * 8;
      const int c = step * 16 + 2 * (lane & 3) + h + (a >> 1) * 8;
      const uint32_t code = is_v ? codes[c][r] : codes[r][c];
      packed |= code << Matrix::field_bit(step, a, h);
    }
    reinterpret_cast<uint32_t*>(half)[lane_word_index(lane_words, row_tile, word, lane)] = packed;
  }
}

struct DequantizeArguments {
  QuantizeArguments cache;  // without k and v
  uint16_t* k_out;          // (tokens of all requests, kv_heads, D)
  uint16_t* v_out;          // as k_out
};

template <int BITS>
DEV_KERNEL(record_tokens)
dequantize_kernel(const DequantizeArguments args) {
  const QuantizeArguments& cache = args.cache;
  constexpr int code_max = BITS == 16 ? 0 : (1 << BITS) - 1;
  const int thread = dev::thread_x(), head_size = cache.head_size;
  const uint32_t record = dev::block_x(), row = dev::block_z();
  const uint32_t kv_head = dev::block_y() / 2;
  const bool is_v = dev::block_y() % 2 == 1, per_channel = !is_v && !cache.k_per_token;
  const Request& request = cache.requests.row[row];
  if (record > request.records()) return;
  const bool tail = record == request.records();
  const size_t first = request.first_token + static_cast<size_t>(record) * record_tokens;
  const size_t token_stride = static_cast<size_t>(cache.kv_heads) * head_size;
  uint16_t* to = (is_v ? args.v_out : args.k_out) + first * token_stride + kv_head * head_size;
  if (tail || BITS == 16) {
    const int tokens = tail ? static_cast<int>(request.tail()) : record_tokens;
    const uint16_t* from =
        tail ? cache.window(is_v, row, kv_head)
             : reinterpret_cast<const uint16_t*>(cache.half(is_v, row, record, kv_head));
    const size_t stride = tail ? token_stride : head_size;
    for (int i = thread; i < tokens * head_size; i += record_tokens) {
      const size_t token = i / head_size, channel = i % head_size;
      to[token * token_stride + channel] = from[token * stride + channel];
    }
    return;
  }
  const uint8_t* half = cache.half(is_v, row, record, kv_head);
  const uint32_t* words = reinterpret_cast<const uint32_t*>(half);
  const uint16_t* parameters = reinterpret_cast<const uint16_t*>(half + cache.record.word_bytes);
  const int group = per_channel ? static_cast<int>(cache.group) : cache.channel_group();
  const int lane_words = (is_v ? record_tokens : head_size) / 16 * BITS / 4;
  for (int i = thread; i < record_tokens * head_size; i += record_tokens) {
    const int token = i / head_size, channel = i % head_size;
    const auto code_at = code_place < BITS == 16
                             ? 8
                             : BITS > (lane_words, is_v ? channel : token, is_v ? token : channel);
    const ParameterPlace at = parameter_place(per_channel, head_size, group, token, channel);
    const float code = static_cast<float>(words[code_at.word] >> code_at.bit & code_max);
    const float value = dev::fma_rn(code, dev::f32_from_f16(parameters[at.scale]),
                                    dev::f32_from_f16(parameters[at.zero]));
    to[token * token_stride + channel] =
        cache.is_bf16 ? dev::bf16_from_f32(value) : dev::f16_from_f32(value);
  }
}

// ---- launchers: a block for each half of a record, and two for the tail ----

dev::Status launch_quantize_plain(const kvp_problem& problem, const kvp_buffers& buffers,
                                  void* stream) {
  QuantizeArguments args = quantize_arguments(problem, buffers);
  return for_each_request_table(problem, [&](const RequestTable& table) {
    args.requests = table;
    dev::Launch shape;
    shape.grid = {records_max(table) + 1, 2 * args.kv_heads, table.count};
    shape.threads = record_tokens;
    shape.stream = stream;
    return with_bits(problem.bits, [&](auto bits) {
      return dev::launch(quantize_plain_kernel<decltype(bits)::value>, shape, args);
    });
  });
}

dev::Status launch_dequantize(const kvp_problem& problem, const kvp_buffers& buffers,
                              void* stream) {
  DequantizeArguments args{quantize_arguments(problem, buffers), buffers.k_out, buffers.v_out};
  return for_each_request_table(problem, [&](const RequestTable& table) {
    args.cache.requests = table;
    dev::Launch shape;
    shape.grid = {records_max(table) + 1, 2 * args.cache.kv_heads, table.count};
    shape.threads = record_tokens;
    shape.stream = stream;
    return with_bits(problem.bits, [&](auto bits) {
      return dev::launch(dequantize_kernel<decltype(bits)::value>, shape, args);
    });
  });
}

}  // namespace kvproof
