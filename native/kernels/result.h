// result.h - the last step for a query row, output and log-sum-exp:
//
//   output = RN(o / l) in the type of the problem,   lse = ln 2 (M + log2 l)
//
// from sums o and l of weights relative to 2^M. A row that sees no token has output 0 and lse -Inf.
#pragma once
#include "decode_arguments.h"

namespace kvproof {

// Writes one channel of a query row, and with channel 0 its lse. request: of the table.
DEV_FN void write_result(const DecodeArguments& args, uint32_t request, uint32_t kv_head,
                         uint32_t query_row, uint32_t channel, float o, float l, float largest) {
  const uint32_t heads = args.heads_per_kv;
  const size_t token =
      static_cast<size_t>(args.requests.first + request) * args.query_tokens + query_row / heads;
  const size_t row = token * args.query_heads + kv_head * heads + query_row % heads;
  const bool empty = args.seen(args.requests.row[request], query_row) == 0;
  const float quotient = dev::div_rn(o, l);
  const uint16_t rounded =
      args.is_bf16 ? dev::bf16_from_f32(quotient) : dev::f16_from_f32(quotient);
  args.output[row * args.head_size + channel] = empty ? 0 : rounded;
  if (channel == 0) {
    const float log2_sum = dev::add_rn(largest, log2_of(l));
    args.lse[row] = empty ? dev::f32_from_bits(0xff800000u) : dev::mul_rn(ln_2, log2_sum);
  }
}

}  // namespace kvproof
