// quantize_pack.cu - K and V in fp16 to packed records, and the tail of each request to its
// residual window. For each group of `group` values, every step rounded to f32
// (reference/scheme.ts, BitDecoding k-channel):
//
//   max, min: a NaN loses, -0 < +0, starting from -Inf and +Inf;  range = max - min
//   inverse = range > 0 ? code_max / range : 0
//   code  = clamp(round((x - min) inverse), 0, code_max), halves away from zero, NaN gives 0
//   scale = RN16(inverse == 0 ? 0 : 1 / inverse),  zero = RN16(min)
//
// For every finite fp16 input range <= 131,008, so the scale is at most 43,669 and zero is exact;
// a range below 15 2^-25 (3 2^-25) gives scale 0 beside codes that are not, and dequantises to
// zero.
//
// Both matrices are seen as (row, column) with groups along the rows: K as (token, channel), V as
// (channel, token). The last tokens % 128 are copied and the rest of the window is left alone.
#include "decode_arguments.h"
#include "row_reduce.h"

namespace kvproof {

struct QuantizeArguments {
  const uint16_t* k;     // fp16 (tokens of all requests, kv_heads, 128)
  const uint16_t* v;     // as k
  uint8_t* cache;        // (pages, kv_heads, record)
  uint16_t* k_residual;  // fp16 (requests, 128, kv_heads, 128)
  uint16_t* v_residual;  // as k_residual
  uint32_t kv_heads;
  RequestTable requests;
};

struct GroupParameters {
  float min, inverse;
  uint16_t scale, zero;  // fp16
};

DEV_FN GroupParameters group_parameters(float max, float min, int code_max) {
  GroupParameters p;
  const float range = dev::sub_rn(max, min);
  p.min = min;
  p.inverse = range > 0 ? dev::div_rn(static_cast<float>(code_max), range) : 0.0f;
  p.scale = p.inverse == 0 ? 0 : dev::f16_from_f32(dev::div_rn(1.0f, p.inverse));
  p.zero = dev::f16_from_f32(min);
  return p;
}

DEV_FN uint32_t code_of(float x, const GroupParameters& p, int code_max) {
  const float t = dev::mul_rn(dev::sub_rn(x, p.min), p.inverse);  // >= 0, or NaN
  const float whole = dev::trunc_toward_zero(t);
  const float rounded = dev::sub_rn(t, whole) >= 0.5f ? dev::add_rn(whole, 1.0f) : whole;
  const float clamped = dev::min_num(dev::max_num(rounded, 0.0f), static_cast<float>(code_max));
  return static_cast<uint32_t>(dev::i32_from_f32(clamped));
}

// One matrix of a record in memory: element (row, column) is x[row * row_stride + column *
// column_stride].
struct MatrixView {
  const uint16_t* x;  // fp16
  size_t row_stride, column_stride;

  DEV_FN uint16_t at(int row, int column) const {
    return x[row * row_stride + column * column_stride];
  }
};

// K is (token, channel), V is (channel, token); both are read from (token, kv_head, channel).
DEV_FN MatrixView matrix_view(const QuantizeArguments& args, bool is_v, const Request& request,
                              uint32_t record, uint32_t kv_head) {
  const size_t token_stride = static_cast<size_t>(args.kv_heads) * head_size;
  const size_t first =
      (request.first_token + static_cast<size_t>(record) * record_tokens) * token_stride +
      static_cast<size_t>(kv_head) * head_size;
  if (is_v) return {args.v + first, 1, token_stride};
  return {args.k + first, token_stride, 1};
}

// Copies the tail of a request for one KV head, 16 bytes at a time.
DEV_FN void copy_tail(const QuantizeArguments& args, bool is_v, uint32_t table_row,
                      uint32_t kv_head, uint32_t thread, uint32_t threads) {
  constexpr uint32_t row_chunks = head_size * 2 / 16;
  const Request& request = args.requests.row[table_row];
  const size_t token_stride = static_cast<size_t>(args.kv_heads) * head_size;
  const size_t head = static_cast<size_t>(kv_head) * head_size;
  const size_t from = request.first_token + static_cast<size_t>(request.records()) * record_tokens;
  const size_t to = static_cast<size_t>(args.requests.first + table_row) * record_tokens;
  const uint16_t* source = (is_v ? args.v : args.k) + from * token_stride + head;
  uint16_t* window = (is_v ? args.v_residual : args.k_residual) + to * token_stride + head;
  for (uint32_t i = thread; i < request.tail() * row_chunks; i += threads) {
    const size_t at = i / row_chunks * token_stride + i % row_chunks * 8;
    *reinterpret_cast<uint4*>(window + at) = *reinterpret_cast<const uint4*>(source + at);
  }
}

// ---- plain version: a thread takes a column, its codes go through shared memory as bytes ----

template <class R>
DEV_KERNEL(record_tokens)
quantize_plain_kernel(const QuantizeArguments args) {
  using Codes = uint8_t[128][128];  // (row, column)
  DEV_SHARED(Codes, codes);
  const int column = dev::thread_x();
  const uint32_t record = dev::block_x(), kv_head = dev::block_y(), table_row = dev::block_z();
  const Request& request = args.requests.row[table_row];
  if (record > request.records()) return;
  for (int is_v = 0; is_v < 2; is_v++) {
    if (record == request.records()) {
      copy_tail(args, is_v, table_row, kv_head, column, record_tokens);
      continue;
    }
    const MatrixView matrix = matrix_view(args, is_v, request, record, kv_head);
    uint8_t* half =
        args.cache +
        (static_cast<size_t>(request.first_page + record) * args.kv_heads + kv_head) * R::bytes +
        is_v * R::half_bytes;
    for (int group = 0; group < R::groups; group++) {
      float max = dev::f32_from_bits(0xff800000u), min = dev::f32_from_bits(0x7f800000u);
      for (int row = group * R::group; row < (group + 1) * R::group; row++) {
        max = dev::max_num(max, dev::f32_from_f16(matrix.at(row, column)));
        min = dev::min_num(min, dev::f32_from_f16(matrix.at(row, column)));
      }
      const GroupParameters p = group_parameters(max, min, R::code_max);
      for (int row = group * R::group; row < (group + 1) * R::group; row++) {
        codes[row][column] = static_cast<uint8_t>(
            code_of(dev::f32_from_f16(matrix.at(row, column)), p, R::code_max));
      }
      uint16_t* parameters = reinterpret_cast<uint16_t*>(half + R::word_bytes + group * 512);
      parameters[is_v ? 2 * column : k_parameter_index(column)] = p.scale;
      parameters[is_v ? 2 * column + 1 : 128 + k_parameter_index(column)] = p.zero;
    }
    dev::syncthreads();
    uint32_t* words = reinterpret_cast<uint32_t*>(half);
    for (int tile_word = 0; tile_word < row_tiles * R::lane_words / 4; tile_word++) {
      const int i = tile_word * 4 + column / 32, lane = column % 32;
      const int row_tile = i / R::lane_words, word = i % R::lane_words;
      uint32_t packed = 0;
      for (int field = 0; field < 32 / R::bits; field++) {
        const int step = word * R::steps_per_word + field / 8, a = field / 2 % 4, h = field % 2;
        const int row = row_tile * 16 + (lane >> 2) + (a & 1) * 8;
        const uint32_t code = codes[row][step * 16 + 2 * (lane & 3) + h + (a >> 1) * 8];
        packed |= code << field_bit<R::bits>(step, a, h);
      }
      words[word_index<R::bits>(row_tile, word, lane)] = packed;
    }
    dev::syncthreads();
  }
}

// ---- fast version: a warp takes two column steps and holds their fragments in registers ----

// Two adjacent columns of a row, the first in the low half.
template <bool IS_V>
DEV_FN uint32_t pair_at(const MatrixView& matrix, int row, int column) {
  if constexpr (IS_V) {
    return matrix.at(row, column) | static_cast<uint32_t>(matrix.at(row, column + 1)) << 16;
  } else {
    return *reinterpret_cast<const uint32_t*>(matrix.x + row * matrix.row_stride + column);
  }
}

// Parameters of two adjacent columns for row tiles first .. first + TILES - 1. x: the fragments of
// one column step, [row tile][register a]; side: 0 for columns 2c, 2c + 1, 1 for the eight further.
// A lane reduces its own rows in f32; fp16 carries the extremes between lanes, exactly.
template <int TILES>
DEV_FN void pair_parameters(GroupParameters (&p)[2], const uint32_t (&x)[row_tiles][4], int first,
                            int side, int code_max) {
  float max[2], min[2];
  DEV_UNROLL
  for (int h = 0; h < 2; h++) {
    max[h] = dev::f32_from_bits(0xff800000u);
    min[h] = dev::f32_from_bits(0x7f800000u);
  }
  DEV_UNROLL
  for (int i = first; i < first + TILES; i++) {
    DEV_UNROLL
    for (int a = 2 * side; a < 2 * side + 2; a++) {
      const float2 v = dev::h2unpack(x[i][a]);
      max[0] = dev::max_num(max[0], v.x);
      max[1] = dev::max_num(max[1], v.y);
      min[0] = dev::min_num(min[0], v.x);
      min[1] = dev::min_num(min[1], v.y);
    }
  }
  constexpr uint32_t signs = 0x80008000u;  // min x = -max(-x), for -0 and +0 too
  const float2 highest = dev::h2unpack(half2_max_over_rows(dev::h2pack(max[0], max[1])));
  const float2 lowest =
      dev::h2unpack(half2_max_over_rows(dev::h2pack(min[0], min[1]) ^ signs) ^ signs);
  p[0] = group_parameters(highest.x, lowest.x, code_max);
  p[1] = group_parameters(highest.y, lowest.y, code_max);
}

// Stores the parameters of one column step and group; the four lanes of row 0 have all of them.
// p: [side][half] for columns 16 step + 2c + h + 8 side. to: global, the 512 bytes of the group.
template <bool IS_V>
DEV_FN void store_parameters(uint2* to, const GroupParameters (&p)[2][2], int step, int lane) {
  if (lane >= 4) return;
  const auto word = [](uint16_t low, uint16_t high) {
    return low | static_cast<uint32_t>(high) << 16;
  };
  if constexpr (IS_V) {  // a word for each token
    DEV_UNROLL
    for (int side = 0; side < 2; side++) {
      to[step * 8 + side * 4 + lane] = make_uint2(word(p[side][0].scale, p[side][0].zero),
                                                  word(p[side][1].scale, p[side][1].zero));
    }
  } else {  // scales, then zeros; k_parameter_index puts the four columns of a lane together
    to[lane * 8 + step] =
        make_uint2(word(p[0][0].scale, p[0][1].scale), word(p[1][0].scale, p[1][1].scale));
    to[32 + lane * 8 + step] =
        make_uint2(word(p[0][0].zero, p[0][1].zero), word(p[1][0].zero, p[1][1].zero));
  }
}

// Quantises column steps 2 warp and 2 warp + 1 of one matrix of a record. half: global, K or V
// half.
template <class R, bool IS_V>
DEV_FN void quantize_steps(const MatrixView& matrix, uint8_t* half, int warp, int lane) {
  constexpr int tiles = row_tiles / R::groups;
  const int g = lane >> 2, c = lane & 3;
  uint32_t words[row_tiles][2] =
      {};  // [row tile][word]: one word a step at 4 bits, one of both at 2
  DEV_UNROLL
  for (int odd = 0; odd < 2; odd++) {
    const int step = 2 * warp + odd, slot = R::bits == 4 ? odd : 0;
    uint32_t x[row_tiles][4];
    DEV_UNROLL
    for (int i = 0; i < row_tiles; i++) {
      DEV_UNROLL
      for (int a = 0; a < 4; a++) {
        x[i][a] = pair_at<IS_V>(matrix, i * 16 + g + (a & 1) * 8, step * 16 + 2 * c + (a >> 1) * 8);
      }
    }
    DEV_UNROLL
    for (int group = 0; group < R::groups; group++) {
      GroupParameters p[2][2];
      DEV_UNROLL
      for (int side = 0; side < 2; side++) {
        pair_parameters<tiles>(p[side], x, group * tiles, side, R::code_max);
      }
      store_parameters<IS_V>(reinterpret_cast<uint2*>(half + R::word_bytes + group * 512), p, step,
                             lane);
      DEV_UNROLL
      for (int i = group * tiles; i < (group + 1) * tiles; i++) {
        DEV_UNROLL
        for (int a = 0; a < 4; a++) {
          const float2 v = dev::h2unpack(x[i][a]);
          words[i][slot] |= code_of(v.x, p[a >> 1][0], R::code_max)
                            << field_bit<R::bits>(odd, a, 0);
          words[i][slot] |= code_of(v.y, p[a >> 1][1], R::code_max)
                            << field_bit<R::bits>(odd, a, 1);
        }
      }
    }
  }
  uint32_t* to = reinterpret_cast<uint32_t*>(half);
  DEV_UNROLL
  for (int i = 0; i < row_tiles; i++) {
    if constexpr (R::bits == 4) {
      *reinterpret_cast<uint2*>(to + word_index<4>(i, 2 * warp, lane)) =
          make_uint2(words[i][0], words[i][1]);
    } else {
      to[word_index<2>(i, warp, lane)] = words[i][0];
    }
  }
}

template <class R>
DEV_KERNEL(128)
quantize_kernel(const QuantizeArguments args) {
  const int warp = dev::thread_x() / 32, lane = dev::thread_x() % 32;
  const uint32_t record = dev::block_x(), kv_head = dev::block_y(), table_row = dev::block_z();
  const Request& request = args.requests.row[table_row];
  if (record > request.records()) return;
  if (record == request.records()) {
    copy_tail(args, false, table_row, kv_head, dev::thread_x(), 128);
    copy_tail(args, true, table_row, kv_head, dev::thread_x(), 128);
    return;
  }
  uint8_t* to =
      args.cache +
      (static_cast<size_t>(request.first_page + record) * args.kv_heads + kv_head) * R::bytes;
  quantize_steps<R, false>(matrix_view(args, false, request, record, kv_head), to, warp, lane);
  quantize_steps<R, true>(matrix_view(args, true, request, record, kv_head), to + R::half_bytes,
                          warp, lane);
}

// ---- launchers: a block for each record, and one for the tail ----

template <class Kernel>
static dev::Status launch_quantize_with(const kvp_problem& problem, const kvp_buffers& buffers,
                                        void* stream, const Kernel& kernel_for) {
  QuantizeArguments args{};
  args.k = buffers.k;
  args.v = buffers.v;
  args.cache = buffers.cache;
  args.k_residual = buffers.k_residual;
  args.v_residual = buffers.v_residual;
  args.kv_heads = problem.kv_heads;
  return for_each_request_table(problem, [&](const RequestTable& table) {
    args.requests = table;
    dev::Launch shape;
    shape.grid = {records_max(table) + 1, problem.kv_heads, table.count};
    shape.threads = record_tokens;
    shape.stream = stream;
    return with_record(problem.bits, problem.group,
                       [&](auto record) { return dev::launch(kernel_for(record), shape, args); });
  });
}

dev::Status launch_quantize(const kvp_problem& problem, const kvp_buffers& buffers, void* stream) {
  return launch_quantize_with(problem, buffers, stream,
                              [](auto r) { return quantize_kernel<decltype(r)>; });
}

dev::Status launch_quantize_plain(const kvp_problem& problem, const kvp_buffers& buffers,
                                  void* stream) {
  return launch_quantize_with(problem, buffers, stream,
                              [](auto r) { return quantize_plain_kernel<decltype(r)>; });
}

}  // namespace kvproof
