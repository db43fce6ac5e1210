// quantize_pack.cu - K and V to packed records, the tail of each request to its residual window;
// and append, which adds a token to the windows and packs those that are full.
//
// quantize_group.h has the arithmetic. A block takes K or V of a record of one KV head: 128 tokens
// go to shared memory by cp.async, and each warp reads the fragments of its columns twice by
// ldmatrix (V transposed), for the extremes and for the codes; words and parameters go straight to
// the record. The code of a value is the integer part of t + (1/2 - 2^-25), t = (x - min) inverse,
// which is t rounded with halves away from zero: below 1/2 the sum stays below 1, from 1 on the sum
// is off by less than half a unit of the last place of t. One conversion instead of four steps.
//
// Both matrices are seen as (row, column), K as (token, channel), V as (channel, token). Groups lie
// along the rows of K per channel and of V, along the columns of K per token. At 16 bits rows are
// copied. Bounds: quantize reads 2 D bytes a token and head, and writes D bits / 8.
#include "quantize_tile.h"

namespace kvproof {

constexpr int quantize_warps = quantize_threads / 32;

// Rows of 16-byte chunks from one place to another.
DEV_FN void copy_rows(uint16_t* to, size_t to_stride, const uint16_t* from, size_t from_stride,
                      uint32_t rows, uint32_t row_chunks) {
  for (uint32_t i = dev::thread_x(); i < rows * row_chunks; i += quantize_threads) {
    const size_t row = i / row_chunks, at = i % row_chunks * 8;
    *reinterpret_cast<uint4*>(to + row * to_stride + at) =
        *reinterpret_cast<const uint4*>(from + row * from_stride + at);
  }
}

// ---- codes ----

DEV_FN uint32_t code_of(float x, float min, float inverse, int code_max) {
  constexpr float below_half = 0x1.fffffep-2f;                // 1/2 - 2^-25
  const float t = dev::mul_rn(dev::sub_rn(x, min), inverse);  // >= 0, or NaN
  const int32_t code = dev::i32_from_f32(dev::add_rn(t, below_half));
  return static_cast<uint32_t>(code < code_max ? code : code_max);
}

// The words of one lane for a row tile and two column steps, the even one first.
template <int BITS>
struct PairWords {
  using Matrix = CodeMatrix<BITS, 128, 128>;  // fields do not depend on the size
  static constexpr int count = BITS / 2 < 1 ? 1 : BITS / 2;
  uint32_t word[4] = {};

  DEV_FN void add(uint32_t code, int odd, int a, int h) {
    word[Matrix::field_word(odd, a)] += code << Matrix::field_bit(odd, a, h);
  }
  DEV_FN void store(uint32_t* to) const {
    if constexpr (BITS == 8) {
      *reinterpret_cast<uint4*>(to) = make_uint4(word[0], word[1], word[2], word[3]);
    } else if constexpr (BITS == 4) {
      *reinterpret_cast<uint2*>(to) = make_uint2(word[0], word[1]);
    } else {
      *to = word[0];
    }
  }
};

// ---- K per channel, and V: groups along the rows ----

// What one lane needs of two steps: its columns are 2c + h + 8 side of each.
struct PairParameters {
  float min[2][2][2], inverse[2][2][2];  // [odd step][side][h]
};

// The eight lanes of a column share it: lane 4 g + c makes the parameters of one of eight columns,
// those of bits (odd, side, h) = g, and hands the inverse to the others. Returns its own.
template <bool IS_BF16>
DEV_FN GroupParameters pair_parameters(PairParameters& p, const Extremes<IS_BF16> (&e)[2][2],
                                       int lane, int code_max) {
  float max = 0, min = 0;
  DEV_UNROLL
  for (int i = 0; i < 8; i++) {
    const float2 high = e[i >> 2][i >> 1 & 1].highest(), low = e[i >> 2][i >> 1 & 1].lowest();
    const bool own = i == lane >> 2;
    max = own ? (i & 1 ? high.y : high.x) : max;
    min = own ? (i & 1 ? low.y : low.x) : min;
    p.min[i >> 2][i >> 1 & 1][i & 1] = i & 1 ? low.y : low.x;
  }
  const GroupParameters mine = group_parameters(max, min, code_max);
  DEV_UNROLL
  for (int i = 0; i < 8; i++) {
    p.inverse[i >> 2][i >> 1 & 1][i & 1] = dev::shfl(mine.inverse, i * 4 + (lane & 3));
  }
  return mine;
}

// parameters: global, of the group. column: of the lane that calls.
template <bool IS_V>
DEV_FN void store_parameters(uint8_t* parameters, const GroupParameters& p, int column,
                             int head_size) {
  if constexpr (IS_V) {
    reinterpret_cast<uint32_t*>(parameters)[column] = scale_and_zero(p);
  } else {
    uint16_t* scales = reinterpret_cast<uint16_t*>(parameters);
    const int i = k_parameter_index(head_size, column);
    scales[i] = p.scale;
    scales[head_size + i] = p.zero;
  }
}

// half: global, K or V half of a record. A warp takes two steps at a time.
template <int BITS, bool IS_BF16, bool IS_V>
DEV_FN void quantize_columns(const QuantizeArguments& args, const Tile& tile, uint8_t* half) {
  constexpr int code_max = (1 << BITS) - 1;
  const int warp = dev::thread_x() / 32, lane = dev::thread_x() % 32, g = lane >> 2;
  const int head_size = args.head_size;
  const int rows = IS_V ? head_size : record_tokens, columns = IS_V ? record_tokens : head_size;
  const int group = IS_V ? args.channel_group() : static_cast<int>(args.group);
  const int lane_words = columns / 16 * BITS / 4;
  for (int pair = warp; pair < columns / 32; pair += quantize_warps) {
    uint32_t* words = reinterpret_cast<uint32_t*>(half) +
                      lane_word_index(lane_words, 0, pair * PairWords<BITS>::count, lane);
    const int column = pair * 32 + (g >> 2) * 16 + (g >> 1 & 1) * 8 + (lane & 3) * 2 + (g & 1);
    for (int first = 0; first < rows; first += group) {
      Extremes<IS_BF16> e[2][2];  // [odd step][side]
      DEV_UNROLL
      for (int odd = 0; odd < 2; odd++) {
        uint32_t x[4];
        tile.fragment<IS_V>(x, first / 16, 2 * pair + odd, lane);
        e[odd][0].start(x[0]);
        e[odd][1].start(x[2]);
      }
      for (int i = first / 16; i < (first + group) / 16; i++) {
        DEV_UNROLL
        for (int odd = 0; odd < 2; odd++) {
          uint32_t x[4];
          tile.fragment<IS_V>(x, i, 2 * pair + odd, lane);
          DEV_UNROLL
          for (int a = 0; a < 4; a++) e[odd][a >> 1].add(x[a]);
        }
      }
      DEV_UNROLL
      for (int i = 0; i < 4; i++) e[i >> 1][i & 1].merge_rows();
      PairParameters p;
      const GroupParameters mine = pair_parameters<IS_BF16>(p, e, lane, code_max);
      uint8_t* parameters = half + args.record.word_bytes + first / group * columns * 4;
      store_parameters<IS_V>(parameters, mine, column, head_size);
      for (int i = first / 16; i < (first + group) / 16; i++) {
        PairWords<BITS> packed;
        DEV_UNROLL
        for (int odd = 0; odd < 2; odd++) {
          uint32_t x[4];
          tile.fragment<IS_V>(x, i, 2 * pair + odd, lane);
          DEV_UNROLL
          for (int a = 0; a < 4; a++) {
            const float2 v = unpack_pair(x[a], IS_BF16);
            const float(&min)[2] = p.min[odd][a >> 1], (&inverse)[2] = p.inverse[odd][a >> 1];
            packed.add(code_of(v.x, min[0], inverse[0], code_max), odd, a, 0);
            packed.add(code_of(v.y, min[1], inverse[1], code_max), odd, a, 1);
          }
        }
        packed.store(words + i * lane_words * 32);
      }
    }
  }
}

// ---- K per token: groups along the columns ----

// A warp takes a row tile at a time; a lane has columns of rows g and g + 8.
template <int BITS, bool IS_BF16>
DEV_FN void quantize_rows(const QuantizeArguments& args, const Tile& tile, uint8_t* half) {
  constexpr int code_max = (1 << BITS) - 1;
  const int warp = dev::thread_x() / 32, lane = dev::thread_x() % 32;
  const int group = args.channel_group(), lane_words = args.head_size / 16 * BITS / 4;
  uint32_t* parameters = reinterpret_cast<uint32_t*>(half + args.record.word_bytes);
  for (int i = warp; i < record_tokens / 16; i += quantize_warps) {
    for (int first = 0; first < static_cast<int>(args.head_size); first += group) {
      Extremes<IS_BF16> e[2];  // rows g and g + 8
      uint32_t start[4];
      tile.fragment<false>(start, i, first / 16, lane);
      e[0].start(start[0]);
      e[1].start(start[1]);
      for (int step = first / 16; step < (first + group) / 16; step++) {
        uint32_t x[4];
        tile.fragment<false>(x, i, step, lane);
        DEV_UNROLL
        for (int a = 0; a < 4; a++) e[a & 1].add(x[a]);
      }
      float max[2], min[2];
      DEV_UNROLL
      for (int below = 0; below < 2; below++) {
        e[below].merge(1);
        e[below].merge(2);
        max[below] = dev::max_num(e[below].highest().x, e[below].highest().y);
        min[below] = dev::min_num(e[below].lowest().x, e[below].lowest().y);
      }
      const int own = lane & 1;  // of the four lanes of a row, two make the parameters
      const GroupParameters mine =
          group_parameters(own ? max[1] : max[0], own ? min[1] : min[0], code_max);
      const int token = i * 16 + own * 8 + (lane >> 2);
      if ((lane & 2) == 0) parameters[first / group * record_tokens + token] = scale_and_zero(mine);
      const float inverse[2] = {dev::shfl(mine.inverse, lane & ~1),
                                dev::shfl(mine.inverse, lane | 1)};
      for (int pair = first / 32; pair < (first + group) / 32; pair++) {
        PairWords<BITS> packed;
        DEV_UNROLL
        for (int odd = 0; odd < 2; odd++) {
          uint32_t x[4];
          tile.fragment<false>(x, i, 2 * pair + odd, lane);
          DEV_UNROLL
          for (int a = 0; a < 4; a++) {
            const float2 v = unpack_pair(x[a], IS_BF16);
            packed.add(code_of(v.x, min[a & 1], inverse[a & 1], code_max), odd, a, 0);
            packed.add(code_of(v.y, min[a & 1], inverse[a & 1], code_max), odd, a, 1);
          }
        }
        packed.store(reinterpret_cast<uint32_t*>(half) +
                     lane_word_index(lane_words, i, pair * PairWords<BITS>::count, lane));
      }
    }
  }
}

// ---- kernels ----

// x: token 0 of the record and head, tokens token_stride elements apart; half: where it goes.
template <int BITS, bool IS_BF16>
DEV_FN void pack_half(const QuantizeArguments& args, bool is_v, const uint16_t* x,
                      size_t token_stride, uint8_t* half) {
  if constexpr (BITS == 16) {
    copy_rows(reinterpret_cast<uint16_t*>(half), args.head_size, x, token_stride, record_tokens,
              args.head_size / 8);
  } else {
    DEV_DYN_SHARED(uint4, chunks, 16);
    const Tile tile{chunks, static_cast<int>(args.head_size / 8)};
    load_tile(tile, x, token_stride);
    if (is_v) {
      quantize_columns<BITS, IS_BF16, true>(args, tile, half);
    } else if (args.k_per_token) {
      quantize_rows<BITS, IS_BF16>(args, tile, half);
    } else {
      quantize_columns<BITS, IS_BF16, false>(args, tile, half);
    }
  }
}

// Appends a token to a window. True if that filled a record that is for this request to write.
DEV_FN bool append_token(const QuantizeArguments& args, bool is_v, uint32_t row, uint32_t kv_head,
                         size_t window_stride) {
  const Request& request = args.requests.row[row];
  if (request.tokens == 0) return false;
  const size_t place = (request.tokens - 1) % record_tokens;
  copy_rows(args.window(is_v, row, kv_head) + place * window_stride, window_stride,
            args.source(is_v, args.requests.first + row, kv_head), 0, 1, args.head_size / 8);
  return request.tail() == 0 && request.records() > request.kept_records;
}

// A block for each record and one for the tail; to append, one for the newest record.
template <int BITS, bool IS_BF16>
DEV_KERNEL(quantize_threads)
quantize_kernel(const QuantizeArguments args) {
  const uint32_t row = dev::block_z(), kv_head = dev::block_y() / 2;
  const bool is_v = dev::block_y() % 2 == 1;
  const Request& request = args.requests.row[row];
  const size_t window_stride = static_cast<size_t>(args.kv_heads) * args.head_size;
  uint16_t* window = args.window(is_v, row, kv_head);
  if (args.is_append) {
    if (!append_token(args, is_v, row, kv_head, window_stride)) return;
    dev::syncthreads();
    pack_half<BITS, IS_BF16>(args, is_v, window, window_stride,
                             args.half(is_v, row, request.records() - 1, kv_head));
    return;
  }
  const uint32_t record = dev::block_x();
  if (record < request.kept_records || record > request.records()) return;
  const size_t first = request.first_token + static_cast<size_t>(record) * record_tokens;
  const uint16_t* x = args.source(is_v, first, kv_head);
  const size_t token_stride = args.token_stride(is_v);
  if (record == request.records()) {
    copy_rows(window, window_stride, x, token_stride, request.tail(), args.head_size / 8);
    return;
  }
  pack_half<BITS, IS_BF16>(args, is_v, x, token_stride, args.half(is_v, row, record, kv_head));
}

// ---- launchers: a block for each half of a record, and two for the tail ----

template <int BITS>
static dev::Status launch_bits(const dev::Launch& shape, const QuantizeArguments& args) {
  constexpr bool packed = BITS != 16;  // else words are words
  if (packed && args.is_bf16) return dev::launch(quantize_kernel<BITS, packed>, shape, args);
  return dev::launch(quantize_kernel<BITS, false>, shape, args);
}

dev::Status launch_quantize(const kvp_problem& problem, const kvp_buffers& buffers, bool is_append,
                            void* stream) {
  QuantizeArguments args = quantize_arguments(problem, buffers);
  args.is_append = is_append;
  return for_each_request_table(problem, [&](const RequestTable& table) {
    args.requests = table;
    const dev::Grid grid{is_append ? 1 : records_max(table) + 1, 2 * args.kv_heads, table.count};
    const uint32_t smem_bytes = problem.bits == 16 ? 0 : record_tokens * args.head_size * 2;
    const dev::Launch shape{grid, quantize_threads, smem_bytes, stream};
    const auto launch_as = problem.bits == 2   ? launch_bits<2>
                           : problem.bits == 4 ? launch_bits<4>
                           : problem.bits == 8 ? launch_bits<8>
                                               : launch_bits<16>;
    return launch_as(shape, args);
  });
}

}  // namespace kvproof
