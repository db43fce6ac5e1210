// product_check.cu - products of every kind and size class against sums in double.
//
// The bound of a sum is that of f32 (terms of the longest chain, times 2^-24, times the sum of
// magnitudes), and the entries of f(x) that lie so near a tie that fp16 may round them either way.
// A term of a row is some hundred times as large, so that a column left out is noticed.
#include <math.h>

#include "product.h"

namespace kvproof_bench_library {

constexpr uint64_t weights_max = 9 << 20;
constexpr float check_position = 7;

struct Bounded {
  double value, error;
};

static double f64(uint16_t word) {
  return static_cast<double>(__half2float(__ushort_as_half(word)));
}
static double rounded(double x) {
  return static_cast<double>(__half2float(__float2half_rn(static_cast<float>(x))));
}
static Bounded as_half(const Bounded& x) {
  return {x.value, x.error + (fabs(x.value) + x.error) / 2000 + 1e-7};
}

// f(x), (columns).
static std::vector<Bounded> input_of(const Product& p, const std::vector<uint16_t>& vector,
                                     const std::vector<float>& hidden) {
  std::vector<Bounded> x(p.columns);
  double squares = 0;
  for (uint32_t i = 0; i < p.columns; i++) squares += static_cast<double>(hidden[i]) * hidden[i];
  const double factor = 1 / sqrt(squares / p.columns + 1e-5);
  for (uint32_t i = 0; i < p.columns; i++) {
    if (p.input == Input::plain) {
      x[i] = {f64(vector[i]), 0};
      continue;
    }
    const double exact = hidden[i] * factor, near = 0x1p-18;
    x[i].value = rounded(exact);
    x[i].error = fabs(rounded(exact * (1 + near)) - rounded(exact * (1 - near)));
  }
  return x;
}

static Bounded row_sum(const Product& p, const std::vector<uint16_t>& w,
                       const std::vector<Bounded>& x, uint32_t row) {
  double sum = 0, magnitude = 0, input_error = 0;
  for (uint32_t i = 0; i < p.columns; i++) {
    const double weight = f64(w[static_cast<size_t>(row) * p.columns + i]);
    sum += weight * x[i].value;
    magnitude += fabs(weight * x[i].value);
    input_error += fabs(weight) * x[i].error;
  }
  const double chain = 8 * ((p.columns + 2047) / 2048) + 16;
  return {sum, magnitude * chain * 0x1p-24 + input_error};
}

// What `out` or `residual`, of `before` before, must hold.
static std::vector<Bounded> required(const Product& p, const std::vector<Bounded>& sums,
                                     const std::vector<float>& before) {
  std::vector<Bounded> y;
  const uint32_t half = p.span / 2;
  for (uint32_t row = 0; row < (p.output == Output::gated ? p.rows / 2 : p.rows); row++) {
    const Bounded& own = sums[row];
    if (p.output == Output::added) {
      const double value = before[row] + own.value;
      y.push_back({value, own.error + (fabs(value) + own.error) * 0x1p-23});
    } else if (p.output == Output::gated) {
      const Bounded& up = sums[row + half];
      const double gate = own.value / (1 + exp(-own.value)), value = gate * up.value;
      const double gate_error = 1.1 * own.error + fabs(gate) * 0x1p-18;
      y.push_back(
          as_half({value, fabs(gate) * up.error + gate_error * (fabs(up.value) + up.error)}));
    } else if (p.output == Output::rotated && row < p.rotated_rows) {
      const uint32_t i = row % p.span % half, first = row / p.span * p.span + i;
      const Bounded &a = sums[first], &b = sums[first + half];
      const double angle = check_position * pow(500000, -2.0 * i / p.span);
      const double value = row == first ? a.value * cos(angle) - b.value * sin(angle)
                                        : a.value * sin(angle) + b.value * cos(angle);
      const double turned = (fabs(a.value) + fabs(b.value)) * 0x1p-16;
      y.push_back(as_half({value, a.error + b.error + turned}));
    } else {
      y.push_back(as_half(own));
    }
  }
  return y;
}

template <class T>
static Answer move(std::vector<T>& host, T* device, cudaMemcpyKind kind) {
  void* to = kind == cudaMemcpyHostToDevice ? static_cast<void*>(device) : host.data();
  const void* from =
      kind == cudaMemcpyHostToDevice ? static_cast<const void*>(host.data()) : device;
  return answer_of(cudaMemcpy(to, from, host.size() * sizeof(T), kind), "a check of products");
}

struct CheckBuffers {
  uint16_t *weights = nullptr, *vector = nullptr, *out = nullptr;
  float *hidden = nullptr, *residual = nullptr;
};

static Answer check_product(Product p, const CheckBuffers& b) {
  p.weights = b.weights;
  p.vector = b.vector;
  p.hidden = b.hidden;
  p.residual = b.residual;
  p.out = b.out;
  p.position = check_position;
  std::vector<uint16_t> w(static_cast<size_t>(p.rows) * p.columns), vector(p.columns);
  std::vector<uint16_t> out(p.rows, 0x7e00);  // NaN: what is not written is noticed
  std::vector<float> hidden(p.columns), before(p.rows);
  for (uint32_t i = 0; i < p.columns; i++) hidden[i] = static_cast<float>(i * 7919 % 997) / 400 - 1;
  for (uint32_t i = 0; i < p.rows; i++) before[i] = static_cast<float>(i % 101) / 64;
  const float deviation = 1 / sqrtf(static_cast<float>(p.columns));
  Answer answer = fill_random(b.weights, w.size(), deviation, 17 + p.rows);
  const auto get = [&](auto& host, auto* device, cudaMemcpyKind kind) {
    if (answer.ok()) answer = move(host, device, kind);
  };
  get(w, b.weights, cudaMemcpyDeviceToHost);
  get(vector, b.vector, cudaMemcpyDeviceToHost);
  get(hidden, b.hidden, cudaMemcpyHostToDevice);
  get(out, b.out, cudaMemcpyHostToDevice);
  get(before, b.residual, cudaMemcpyHostToDevice);
  // The stream of the bench does not wait for copies.
  if (answer.ok()) answer = answer_of(cudaDeviceSynchronize(), "a check of products");
  if (answer.ok()) answer = launch_product(p, bench_stream());
  if (answer.ok()) answer = answer_of(cudaStreamSynchronize(bench_stream()), "a product");
  std::vector<float> residual(p.rows);
  get(out, b.out, cudaMemcpyDeviceToHost);
  get(residual, b.residual, cudaMemcpyDeviceToHost);
  if (!answer.ok()) return answer;
  const std::vector<Bounded> x = input_of(p, vector, hidden);
  std::vector<Bounded> sums;
  for (uint32_t row = 0; row < p.rows; row++) sums.push_back(row_sum(p, w, x, row));
  const std::vector<Bounded> y = required(p, sums, before);
  for (size_t i = 0; i < y.size(); i++) {
    const double found = p.output == Output::added ? residual[i] : f64(out[i]);
    if (fabs(found - y[i].value) <= y[i].error) continue;
    return {KVP_INVALID, "element " + std::to_string(i) + " of a product of " +
                             std::to_string(p.rows) + " rows and " + std::to_string(p.columns) +
                             " columns is " + std::to_string(found) + ", required is " +
                             std::to_string(y[i].value) + " within " + std::to_string(y[i].error)};
  }
  return {};
}

// Fewer rows than blocks, rows that blocks share unevenly, an odd number, more than a block sums at
// once; columns for each of the kernels, some of which fill a part of their threads.
Answer check_products() {
  struct Case {
    Input input;
    Output output;
    uint32_t rows, columns, span, rotated_rows;
  };
  const Case cases[] = {
      {Input::plain, Output::rows, 6, 8, 2, 0},
      {Input::plain, Output::rows, 301, 14336, 2, 0},
      {Input::plain, Output::rows, 65, 28672, 2, 0},
      {Input::plain, Output::added, 1024, 4096, 2, 0},
      {Input::plain, Output::added, 301, 14336, 2, 0},
      {Input::plain, Output::added, 100001, 72, 2, 0},
      {Input::normed, Output::rows, 301, 4104, 2, 0},
      {Input::normed, Output::rotated, 768, 4096, 128, 640},
      {Input::normed, Output::rotated, 576, 28672 / 2, 64, 448},
      {Input::normed, Output::rotated, 100096, 72, 128, 99968},
      {Input::normed, Output::gated, 1202, 4096, 1202, 0},
      {Input::normed, Output::gated, 100002, 72, 100002, 0},
      {Input::normed, Output::gated, 66, 28672, 66, 0},
      {Input::plain, Output::gated, 302, 4096, 302, 0},
  };
  CheckBuffers b;
  Answer answer = allocate_elements(&b.weights, weights_max, "weights of a check");
  const auto get = [&](auto** pointer, uint64_t count) {
    if (answer.ok()) answer = allocate_elements(pointer, count, "a vector of a check");
  };
  get(&b.vector, columns_max);
  get(&b.hidden, columns_max);
  get(&b.out, 1 << 17);
  get(&b.residual, 1 << 17);
  if (answer.ok()) answer = fill_random(b.vector, columns_max, 1, 99);
  for (const Case& c : cases) {
    Product p;
    p.input = c.input;
    p.output = c.output;
    p.rows = c.rows;
    p.columns = c.columns;
    p.span = c.span;
    p.rotated_rows = c.rotated_rows;
    if (uint64_t{c.rows} * c.columns > weights_max) {
      return {KVP_INVALID, "a check of products is larger than its weights"};
    }
    if (answer.ok()) answer = check_product(p, b);
  }
  return answer;
}

}  // namespace kvproof_bench_library
