// product.h - y = W f(x), the matrix-vector products of a decode step.
#pragma once
#include "clock.h"

namespace kvproof_bench_library {

// normed: f(x) is RMSNorm without weights of `hidden`; plain: it is `vector`.
enum class Input { normed, plain };

// What becomes of the sums. Pairs are rows i and i + span / 2 of each `span` rows.
// rows: fp16 to `out` (rows); added: onto `residual` (rows).
// rotated: pairs of the first `rotated_rows` rows by RoPE with base 500,000, span being the size of
// a head; then as rows. gated: silu of the first of a pair times the second, to `out` (rows / 2).
enum class Output { rows, added, rotated, gated };

struct Product {
  const uint16_t* weights = nullptr;  // (rows, columns)
  uint32_t rows = 0, columns = 0;     // columns: a multiple of 8, at most columns_max
  Input input = Input::plain;
  const float* hidden = nullptr;     // (columns)
  const uint16_t* vector = nullptr;  // (columns)
  Output output = Output::rows;
  uint32_t span = 2;  // even, and rows are a multiple of it, unless it is 2
  uint32_t rotated_rows = 0;
  float position = 0;  // of the token, for the rotation
  float* residual = nullptr;
  uint16_t* out = nullptr;
};

constexpr uint32_t columns_max = 28672;

// Nothing but `weights` is read before the kernel before it in the stream has ended.
Answer launch_product(const Product& product, cudaStream_t stream);

// product_check.cu: products of every kind and size class against sums in double.
Answer check_products();

}  // namespace kvproof_bench_library
