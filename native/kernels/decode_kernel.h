// decode_kernel.h - one step of attention over the packed cache: for each request and query head
//
//   p_t = 2^(S_t - max S),  S_t = softmax_scale log2(e) (q . K_t),   o = sum p_t V_t,   l = sum p_t
//
// over the tokens of one split, K_t and V_t being code scale + zero. No K or V is ever dequantised:
// the codes are operand A of the tensor core as they are packed, scales are folded into the other
// operand (query_tile.h, output_tile.h), zeros are sums of their own.
//
// Order of the arithmetic, which decides the bits: records r0 .. r1 - 1 of a split are dealt to the
// block's warps in turn (8 warps from sm_90 on, else 4); a warp takes its records in order and, if
// it is the next one in turn and the split is the last, the residual tile; warps merge in order
// (warp_merge.h), then splits do (combine.cu). Nothing depends on timing, on other requests or on
// other heads.
//
// decode_plain.cu is the same without any of this. decode_bulk.cu and decode_async.cu compile this
// kernel with either ring, decode.cu launches it.
//
// Rounded where: q' twice to fp16, P' once to fp16 and, before, p scale to f32; scores by one
// product and one FMA in f32; p by ex2; sums of p and of p zero in f32, one of eight lanes a query;
// mma sums as the tensor core does. Everything else is a power of two.
#pragma once
#include "decode_arguments.h"
#include "output_tile.h"
#include "residual_tile.h"
#include "ring.h"
#include "warp_merge.h"

namespace kvproof {

template <class R, template <class> class RingOf>
DEV_KERNEL(RingOf<R>::threads)
decode_kernel(const DecodeArguments args) {
  using Ring = RingOf<R>;
  DEV_DYN_SHARED(uint8_t, slots, 128);
  const int warp = dev::thread_x() / 32, lane = dev::thread_x() % 32;
  const uint32_t split = dev::block_x();
  const uint32_t kv_head = dev::block_y() / args.query_tiles();
  const int first_row = dev::block_y() % args.query_tiles() * query_tile_rows;
  const Request& request = args.requests.row[dev::block_z()];
  const uint32_t request_index = args.requests.first + dev::block_z();
  const uint32_t query_head = kv_head * args.group_size() + first_row;
  const int rows_left = args.group_size() - first_row;
  const int query_rows = rows_left < query_tile_rows ? rows_left : query_tile_rows;

  // Records of this split, and how many warps have something to do.
  const uint64_t records_all = request.records();
  const int record0 = static_cast<int>(records_all * split / args.splits);
  const int records = static_cast<int>(records_all * (split + 1) / args.splits) - record0;
  const int tail = split + 1 == args.splits ? request.tail() : 0;
  const int busy = records + (tail > 0 ? 1 : 0);
  const int active = busy < Ring::warps ? busy : Ring::warps;

  // The records of one head are kv_heads records apart: a page holds one of each head.
  HalfSource<R, Ring::warps> source;
  source.stride = static_cast<size_t>(args.kv_heads) * R::bytes;
  source.first = args.cache +
                 (static_cast<size_t>(request.first_page + record0) + warp) * source.stride +
                 static_cast<size_t>(kv_head) * R::bytes;
  source.halves = records > warp ? 2 * ((records - warp + Ring::warps - 1) / Ring::warps) : 0;
  Ring ring;
  ring.start(slots, source, warp, lane);

  QueryTile tile;
  const size_t query_row = static_cast<size_t>(request_index) * args.query_heads + query_head;
  load_query_tile(tile, args.q + query_row * head_size, query_rows, args.k2, lane);

  SoftmaxState<R::groups> state;
  clear(state);
  float s[row_tiles][4], decay[2];
  for (int half = 0; half < source.halves; half += 2) {
    record_scores<R>(s, tile, ring.wait(half), lane);
    ring.release(half);
    softmax_step(state, s, decay);
    accumulate_record<R>(state, s, decay, ring.wait(half + 1), lane);
    ring.release(half + 1);
  }
  if (tail > 0 && warp == records % Ring::warps) {
    const size_t row_stride = static_cast<size_t>(args.kv_heads) * head_size;
    const size_t window =
        request_index * record_tokens * row_stride + static_cast<size_t>(kv_head) * head_size;
    residual_scores(s, tile, args.k_residual + window, row_stride, tail, lane);
    softmax_step(state, s, decay);
    accumulate_residual(state, s, decay, args.v_residual + window, row_stride, tail, lane);
  }

  const size_t partial = args.partial_index(request_index, query_head) + split;
  merge_warps<Ring::warps>(state, slots, active, warp, lane,
                           PartialRows{args.partial + partial * head_size,
                                       args.partial_softmax + partial, query_rows, args.splits});
}

// ---- launcher ----

// One launch for the requests of args.
template <class R, template <class> class RingOf>
dev::Status launch_decode_as(const DecodeArguments& args, void* stream) {
  using Ring = RingOf<R>;
  dev::Launch shape;
  shape.grid = {args.splits, args.kv_heads * args.query_tiles(), args.requests.count};
  shape.threads = Ring::threads;
  constexpr int merge = merge_bytes(Ring::warps);
  shape.smem_bytes = Ring::slot_bytes > merge ? Ring::slot_bytes : merge;
  shape.stream = stream;
  return dev::launch(decode_kernel<R, RingOf>, shape, args);
}

}  // namespace kvproof
