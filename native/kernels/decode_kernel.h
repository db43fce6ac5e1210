// decode_kernel.h - one step of attention over the cache: for each request, query token and head
//
//   p_t = 2^(S_t - max S),  S_t = softmax_scale log2(e) (q . K_t),   o = sum p_t V_t,   l = sum p_t
//
// over the tokens of one split that the query token sees, K_t and V_t being code scale + zero. No K
// or V is ever dequantised: the codes are operand A of the tensor core as they are packed, scales
// are folded into the other operand or multiply sums (query_tile.h, code_tile.h, output_tile.h),
// zeros are sums of their own. Records of 16-bit numbers are read as they lie (half_tile.h).
//
// Order of the arithmetic, which decides the bits: the records r0 .. r1 - 1 of a split are dealt to
// the block's warps in turn (16-bit ones in parts); a warp takes its own in order and, if it is the
// next one in turn and the split is the last, the tail; warps merge in order (warp_merge.h), then
// splits do (combine.cu). Nothing depends on timing, on other requests or on other heads, nor on
// the ring, the page table or GROUPED.
//
// decode_plain.cu is the same without any of this. decode_bulk_*.cu and decode_async_*.cu compile
// this kernel with either ring, decode.cu launches it.
//
// Rounded where: q' twice to fp16 (K per channel), P' once to fp16 and, before, p scale to f32;
// scores by one product and one FMA in f32 (K per token: a product, an FMA and an addition for each
// channel group, and one product); p by ex2; sums of p and of p zero in f32, one of eight lanes a
// query; mma sums as the tensor core does. Everything else is a power of two.
#pragma once
#include "half_tile.h"
#include "output_tile.h"
#include "ring.h"
#include "warp_merge.h"

namespace kvproof {

// What a kernel is compiled for. GROUPED: more than one token group of K or channel group.
template <int BITS, int HEAD_SIZE, bool GROUPED, template <int> class RingOf>
struct DecodeFormat {
  static constexpr bool packed = BITS != 16, grouped = GROUPED;
  static constexpr int bits = BITS, head_size = HEAD_SIZE, steps = HEAD_SIZE / 16;
  static constexpr int word_bytes = record_tokens * HEAD_SIZE * BITS / 8;
  // 16-bit records are read in parts of 8 KiB.
  static constexpr int parts = packed ? 1 : word_bytes / 8192;
  static constexpr int part_tokens = record_tokens / parts;
  static constexpr int warps = RingOf<1>::warps_for(word_bytes / parts);
  using Ring = RingOf<warps>;
  static constexpr int groups_max = HEAD_SIZE / 32;  // of channels
  // Shared memory of a block, in bytes: the ring, where groups are shortest and have the most
  // parameters, and sums (query_sums here, those of merge_warps, barriers).
  static constexpr uint32_t half_bytes = word_bytes / parts + (packed ? groups_max * 512 : 0);
  static constexpr uint32_t ring_bytes = warps * ring_slots * half_bytes;
  static constexpr uint32_t sum_bytes = warps * (groups_max + 3) * query_tile_rows * 4;
  static constexpr uint32_t query_bytes = steps * 256;
  // Operand B of 256 channels, 32 registers, would be spilled: it is in shared memory between
  // records where there is room, which 2 bits leave none of on sm_89. Of 128 channels it stays in
  // registers, where 2 bits are 1.5 % faster for it (H100).
  static constexpr bool query_is_shared =
      packed && HEAD_SIZE > 128 && ring_bytes + sum_bytes + query_bytes <= Ring::shared_max;
  static_assert(ring_bytes + sum_bytes <= Ring::shared_max);
  using State = SoftmaxState<steps, GROUPED ? groups_max : 1>;
};

template <class F>
DEV_FN HalfSource half_source(const DecodeArguments& args, const BlockRows& rows, int record0,
                              int parts, int warp) {
  const Request& request = args.requests.row[rows.request];
  const size_t row = args.requests.first + rows.request;
  HalfSource source{};
  source.page_bytes = static_cast<size_t>(args.kv_heads) * args.record.bytes();
  source.head = args.cache + static_cast<size_t>(rows.kv_head) * args.record.bytes();
  source.pages = args.pages.entries;
  if (source.pages != nullptr) source.pages += row * args.pages.stride + record0;
  source.first_page = request.first_page + record0;
  source.parts = F::parts;
  source.k_bytes = args.record.k_half_bytes() / F::parts;
  source.v_bytes = args.record.v_half_bytes() / F::parts;
  source.v_offset = args.record.k_half_bytes();
  source.part = warp;
  source.end = parts;
  source.stride = F::warps;
  return source;
}

// What the scores of a record take operand B from; called by the whole block.
template <class F>
DEV_FN auto query_between_records(const QueryTile<F::steps>& tile, int warp, int lane) {
  if constexpr (F::query_is_shared) {
    using Query = uint4[F::steps / 2 * 32];
    DEV_SHARED(Query, query);
    if (warp == 0) store_query(query, tile, lane);
    dev::syncthreads();
    return static_cast<const uint4*>(query);
  } else {
    return InRegisters{};
  }
}

// The packed records of a warp. first_token: of its first record. sight: of the request.
template <class F>
DEV_FN void decode_records(typename F::State& state, typename F::Ring& ring,
                           const DecodeArguments& args, QueryTile<F::steps>& tile, int first_token,
                           int end_token, const Sight& sight, int columns, int warp, int lane) {
  using K = CodeMatrix<F::bits, record_tokens, F::head_size>;
  using V = CodeMatrix<F::bits, F::head_size, record_tokens>;
  constexpr int sums_of_warp = F::groups_max * query_tile_rows;
  using Sums = float[F::warps][sums_of_warp];
  DEV_SHARED(Sums, query_sums);
  float* sums = query_sums[warp];
  // Tokens or channels of a group, in sixteens: tiles or steps.
  const int token_tiles = static_cast<int>(args.group) / 16;
  const int channel_tiles = token_tiles < F::steps ? token_tiles : F::steps;
  uint32_t mixed[2] = {0, 0};
  if (args.k_per_token) {
    store_query_sums<K>(sums, tile, channel_tiles, lane);
    find_mixed_groups<K>(mixed, tile, channel_tiles);
    weigh_fields<K>(tile.q);
  }
  const auto query = query_between_records<F>(tile, warp, lane);
  float s[record_tiles][4], decay[2];
  for (int token = first_token; token < end_token; token += F::warps * record_tokens) {
    const uint8_t* k_half = ring.wait();
    if (args.k_per_token) {
      token_scores<K, F::grouped>(s, tile, query, k_half, sums, mixed, channel_tiles / 2, lane);
    } else {
      channel_scores<K, F::grouped>(s, tile, query, k_half, token_tiles, lane);
    }
    ring.release();
    const Sight ahead = sight.from(token);
    if (ahead.all < record_tokens) mask_scores(s, ahead, lane);
    softmax_step(state, s, decay, columns);
    accumulate_record<V>(state, s, decay, ring.wait(), ahead, channel_tiles, columns, lane);
    ring.release();
  }
}

// The same for parts of records of 16-bit numbers.
template <class F>
DEV_FN void decode_parts(typename F::State& state, typename F::Ring& ring,
                         const DecodeArguments& args, const QueryTile<F::steps>& tile,
                         int first_token, int end_token, const Sight& sight, int columns,
                         int lane) {
  float s[F::part_tokens / 16][4], decay[2];
  const auto rows = [](const uint8_t* half) {
    return HalfRows{reinterpret_cast<const uint16_t*>(half), F::head_size, F::part_tokens};
  };
  for (int token = first_token; token < end_token; token += F::warps * F::part_tokens) {
    half_scores<true>(s, tile, args.is_bf16, rows(ring.wait()), lane);
    ring.release();
    const Sight ahead = sight.from(token);
    if (ahead.all < F::part_tokens) mask_scores(s, ahead, lane);
    softmax_step(state, s, decay, columns);
    accumulate_half<true>(state, s, decay, columns, args.is_bf16, rows(ring.wait()), ahead, lane);
    ring.release();
  }
}

// The last tokens of the request, in the residual window.
template <class F>
DEV_FN void decode_tail(typename F::State& state, const DecodeArguments& args,
                        const BlockRows& rows, const uint16_t* q_row, const Sight& sight,
                        int lane) {
  const Request& request = args.requests.row[rows.request];
  const int tokens = static_cast<int>(request.tail());
  const auto window = [&](bool is_v) {
    return HalfRows{args.window(is_v, rows.request, rows.kv_head), args.window_stride(), tokens};
  };
  const Sight ahead = sight.from(static_cast<int>(request.tokens) - tokens);
  QueryTile<F::steps> tile;
  load_query_words<!F::packed>(tile.q, q_row, lane);
  scale_half_query(tile, args.is_bf16, args.k2);
  float s[record_tiles][4], decay[2];
  half_scores<!F::packed>(s, tile, args.is_bf16, window(false), lane);
  mask_scores(s, ahead, lane);
  softmax_step(state, s, decay, rows.columns());
  accumulate_half<!F::packed>(state, s, decay, rows.columns(), args.is_bf16, window(true), ahead,
                              lane);
}

template <class F>
DEV_KERNEL_BLOCKS(F::warps * 32, ring_blocks)
decode_kernel(const DecodeArguments args) {
  DEV_DYN_SHARED(uint8_t, slots, 128);
  const int warp = dev::thread_x() / 32, lane = dev::thread_x() % 32;
  BlockRows rows;
  rows.split = dev::block_y();
  rows.request = dev::block_z();
  rows.kv_head = dev::block_x();
  rows.first = 0;
  if (args.query_tiles > 1) {
    rows.kv_head = dev::block_x() / args.query_tiles;
    rows.first = dev::block_x() % args.query_tiles * query_tile_rows;
  }
  const int rows_left = static_cast<int>(args.query_rows - rows.first);
  rows.count = rows_left < query_tile_rows ? rows_left : query_tile_rows;
  const Request& request = args.requests.row[rows.request];

  // Records of this split, and how many warps have something to do.
  const uint32_t records_all = request.records();  // <= 2^17, and at most 2^12 splits
  const auto first_record = [&](uint32_t split) {
    return args.splits == 1 ? records_all * split : records_all * split / args.splits;
  };
  const int record0 = static_cast<int>(first_record(rows.split));
  const int record1 = static_cast<int>(first_record(rows.split + 1));
  const int parts = (record1 - record0) * F::parts;
  const bool has_tail = rows.split + 1 == args.splits && request.tail() > 0;
  const int busy = parts + (has_tail ? 1 : 0);
  const int active = busy < F::warps ? busy : F::warps;

  // The query row of column g, and how far columns 2c and 2c + 1 see.
  const int tile_row = row_of_column(lane / 4);
  const uint32_t heads = args.heads_per_kv, query_row = rows.first + tile_row;
  const size_t token_row =
      static_cast<size_t>(args.requests.first + rows.request) * args.query_tokens;
  const uint32_t token = args.query_tokens > 1 ? query_row / heads : 0;
  const uint16_t* q_row = args.q + (token_row + token) * args.q_strides.token +
                          (rows.kv_head * heads + query_row - token * heads) * args.q_strides.head;
  if (tile_row >= rows.count) q_row = nullptr;
  // The query is asked for before the first copies, behind which it would queue.
  QueryTile<F::steps> tile;
  load_query_words<!F::packed>(tile.q, q_row, lane);
  typename F::Ring ring;
  ring.start(slots, half_source<F>(args, rows, record0, parts, warp), args, warp, lane);
  dev::allow_next_launch();

  const uint32_t even_row = rows.first + lane % 4;
  const Sight sight = {{args.seen(request, even_row), args.seen(request, even_row + 4)},
                       args.seen(request, 0)};

  typename F::State state;
  clear(state, F::packed ? 0.0f : half_top(args.is_bf16));
  const int first_token = record0 * record_tokens + warp * F::part_tokens;
  const int end_token = record1 * record_tokens;
  if constexpr (F::packed) {
    scale_query_words(tile, args.is_bf16, args.k2);
    ring.fill();
    decode_records<F>(state, ring, args, tile, first_token, end_token, sight, rows.columns(), warp,
                      lane);
  } else {
    scale_half_query(tile, args.is_bf16, args.k2);
    ring.fill();
    decode_parts<F>(state, ring, args, tile, first_token, end_token, sight, rows.columns(), lane);
  }
  if (has_tail && warp == parts % F::warps) {
    decode_tail<F>(state, args, rows, q_row, sight, lane);
  }
  merge_warps<F::warps, !F::packed>(state, slots, active, warp, lane, args, rows);
}

// ---- launcher ----

// One launch for the requests of args.
template <class F>
dev::Status launch_decode_as(const DecodeArguments& given, void* stream) {
  DecodeArguments args = given;
  const uint32_t k_bytes = args.record.k_half_bytes(), v_bytes = args.record.v_half_bytes();
  args.slot_bytes = (k_bytes > v_bytes ? k_bytes : v_bytes) / F::parts;
  constexpr uint32_t merge = merge_bytes(F::warps, F::head_size);
  const uint32_t ring = F::warps * ring_slots * args.slot_bytes;
  const dev::Grid grid{args.kv_heads * args.query_tiles, args.splits, args.requests.count};
  const dev::Launch shape{grid, F::warps * 32, ring > merge ? ring : merge, stream};
  return dev::launch(decode_kernel<F>, shape, args);
}

// Where nothing is measured, the general kernel does for one group too.
template <int BITS, int HEAD_SIZE, template <int> class RingOf>
dev::Status launch_decode_groups(const DecodeArguments& args, void* stream) {
  constexpr bool measured = RingOf<1>::arch >= 90;
  if (measured && !args.is_grouped()) {
    return launch_decode_as<DecodeFormat<BITS, HEAD_SIZE, !measured, RingOf>>(args, stream);
  }
  return launch_decode_as<DecodeFormat<BITS, HEAD_SIZE, true, RingOf>>(args, stream);
}

template <int HEAD_SIZE, template <int> class RingOf>
dev::Status launch_decode_bits(const DecodeArguments& args, uint32_t bits, void* stream) {
  if (bits == 2) return launch_decode_groups<2, HEAD_SIZE, RingOf>(args, stream);
  if (bits == 4) return launch_decode_groups<4, HEAD_SIZE, RingOf>(args, stream);
  if (bits == 8) return launch_decode_groups<8, HEAD_SIZE, RingOf>(args, stream);
  return launch_decode_as<DecodeFormat<16, HEAD_SIZE, false, RingOf>>(args, stream);
}

}  // namespace kvproof
