// kernel_run.h - a case through the kernel's own table, between redzones, and two runs compared.
#pragma once
#include "job.h"

namespace kvproof_reference {

inline void run_kernel(const kvp_kernel& kernel, Stream stream, const Job& job, const Run& run,
                       uint8_t poison) {
  const Shape& s = job.shape;
  const Guarded inputs[] = {job.q_rows, job.k_rows, job.v_rows, job.table};
  BufferList written, all;
  for (const Guarded& g :
       {run.cache, run.k_window, run.v_window, run.workspace, run.output, run.lse}) {
    written.add(g);
    all.add(g);
  }
  for (const Guarded& g : inputs) all.add(g);
  poison_redzones(stream, all, poison);
  poison_data(stream, written, poison);
  const auto rows_of = [&](const uint16_t* words, int64_t heads, const Strides& strides) {
    return Rows{words,
                static_cast<uint64_t>(s.head_size),
                static_cast<uint64_t>(heads),
                static_cast<uint64_t>(strides.head),
                static_cast<uint64_t>(strides.token),
                poison};
  };
  const kvp_problem& p = *job.problem;
  const Rows rows[] = {rows_of(job.q, s.query_heads, query_strides(p)),
                       rows_of(job.k, s.kv_heads, key_strides(p)),
                       rows_of(job.v, s.kv_heads, value_strides(p)),
                       {reinterpret_cast<const uint16_t*>(job.table_words), 1, 1, 1, 1, poison}};
  for (int i = 0; i < 4; i++) place_rows(stream, inputs[i], rows[i]);
  kvp_buffers b{};
  b.q = reinterpret_cast<uint16_t*>(job.q_rows.data);
  b.k = reinterpret_cast<uint16_t*>(job.k_rows.data);
  b.v = reinterpret_cast<uint16_t*>(job.v_rows.data);
  b.cache = run.cache.data;
  b.k_residual = reinterpret_cast<uint16_t*>(run.k_window.data);
  b.v_residual = reinterpret_cast<uint16_t*>(run.v_window.data);
  b.workspace = run.workspace.data;
  b.output = reinterpret_cast<uint16_t*>(run.output.data);
  b.lse = reinterpret_cast<float*>(run.lse.data);
  b.page_table = reinterpret_cast<int32_t*>(job.table.data);
  call("quantize",
       [&](char* err, size_t n) { return kernel.quantize(job.problem, &b, stream, err, n); });
  call("decode",
       [&](char* err, size_t n) { return kernel.decode(job.problem, &b, stream, err, n); });
  check_redzones(stream, all, poison, job.counters);
  for (int i = 0; i < 4; i++) check_rows(stream, inputs[i], rows[i], job.counters);
}

inline void compare(Stream stream, const Job& job) {
  const Shape& s = job.shape;
  const Run &a = job.runs[0], &b = job.runs[1];
  compare_runs(stream, a.output.data, b.output.data, a.output.bytes, job.counters);
  compare_runs(stream, a.lse.data, b.lse.data, a.lse.bytes, job.counters);
  compare_windows(stream, s, a.k_window.data, b.k_window.data, job.counters);
  compare_windows(stream, s, a.v_window.data, b.v_window.data, job.counters);
  const int64_t page_bytes = s.kv_heads * record_bytes(s);
  compare_pages(stream, a.cache.data, b.cache.data, page_bytes, job.sizes.pages, job.used,
                job.counters);
}

}  // namespace kvproof_reference
