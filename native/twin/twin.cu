// twin.cu - a batch of cases from recipes to verdicts. Nothing is waited for until the end of the
// batch, or until its memory is used up; cases take turns on a few streams.
#include <memory>

#include "generate.h"
#include "kernel_run.h"

namespace kvproof_reference {

constexpr uint32_t stream_count = 8;
// Cases that take more are waited for before the next one begins.
constexpr uint64_t batch_bytes = uint64_t{1} << 30;

static Stream stream_at(uint32_t i) {
#ifdef __CUDACC__
  static Stream streams[stream_count] = {};
  Stream& stream = streams[i % stream_count];
  if (stream == nullptr) {
    require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream");
  }
  return stream;
#else
  (void)i;
  return nullptr;
#endif
}

static Cache take_cache(Memory* memory, const Job& job) {
  const Shape& s = job.shape;
  const Run& run = job.runs[0];
  Cache c{};
  c.bytes = run.cache.data;
  c.k_window = reinterpret_cast<const uint16_t*>(run.k_window.data);
  c.v_window = reinterpret_cast<const uint16_t*>(run.v_window.data);
  if (s.plain) return c;
  const int64_t lines = s.records * record_tokens * s.kv_heads;
  const int64_t by_token = lines * s.channel_groups;
  const int64_t by_channel = s.records * s.token_groups * s.kv_heads * s.head_size;
  c.k_codes = memory->array<uint8_t>(lines * s.head_size);
  c.v_codes = memory->array<uint8_t>(lines * s.head_size);
  c.k_scales = memory->array<uint16_t>(s.per_token ? by_token : by_channel);
  c.k_zeros = memory->array<uint16_t>(s.per_token ? by_token : by_channel);
  c.v_scales = memory->array<uint16_t>(by_token);
  c.v_zeros = memory->array<uint16_t>(by_token);
  return c;
}

static void bound(Memory* memory, Stream stream, const Arithmetic& a, const Cache& c, Job* job) {
  const Shape& s = job->shape;
  const int64_t elements = s.rows * s.head_size;
  Scores scores{};
  scores.exact = memory->array<double>(s.pairs);
  scores.shadow = memory->array<double>(s.pairs);
  scores.error = memory->array<double>(s.pairs);
  if (!s.plain && s.per_token) {
    scores.channels = memory->array<ChannelGroupTerms>(s.rows * s.channel_groups);
  } else if (!s.plain) {
    scores.shift = memory->array<double>(s.blocks * s.token_groups * s.head_size);
    scores.groups = memory->array<GroupTerms>(s.blocks * s.token_groups);
  }
  auto* blocks = memory->array<WeightBlock>(s.blocks);
  auto* rows = memory->array<WeightRow>(s.rows);
  Values values{};
  values.channels = memory->array<ChannelSums>(s.blocks * s.head_size);
  values.groups = memory->array<GroupSums>(s.plain ? 0 : s.blocks * s.channel_groups);
  auto* of_rows = memory->array<uint64_t>(3 * s.rows);
  values.value_max = of_rows;
  values.key_max = of_rows + s.rows;
  values.flags = reinterpret_cast<uint32_t*>(of_rows + 2 * s.rows);
  clear(stream, of_rows, static_cast<uint64_t>(3 * s.rows) * sizeof(uint64_t));
  auto* numbers = memory->array<double>(4 * elements + 3 * s.rows);
  job->bound = {numbers,
                numbers + elements,
                numbers + 2 * elements,
                numbers + 3 * elements,
                numbers + 4 * elements,
                numbers + 4 * elements + s.rows,
                numbers + 4 * elements + 2 * s.rows,
                memory->array<uint8_t>(s.rows)};
  bound_groups(stream, s, a, c, job->q, scores);
  score(stream, s, a, c, job->q, scores);
  weigh(stream, s, a, scores, blocks, rows);
  sum_values(stream, s, c, scores, rows, values);
  sum_parameters(stream, s, c, scores, values);
  look_for_specials(stream, s, c, job->q, values);
  bound_outputs(stream, s, a, values, blocks, rows, job->bound);
  bound_rows(stream, s, a, job->q, values, rows, job->bound);
}

static void judge_case(const kvp_kernel& kernel, const Arithmetic& a, Memory* memory, Stream stream,
                       Job* job) {
  const kvp_problem& p = *job->problem;
  call("supports", [&](char* err, size_t n) { return kernel.supports(&p, err, n); });
  call("sizes", [&](char* err, size_t n) { return kernel.sizes(&p, &job->sizes, err, n); });
  job->shape = sizes_of(p);
  place_tables(memory, stream, job);
  take_buffers(memory, job);
  const Shape& s = job->shape;
  if (static_cast<int64_t>(job->sizes.cache_bytes) !=
      job->sizes.pages * s.kv_heads * record_bytes(s)) {
    throw Failure{KVP_UNSUPPORTED, "cache: has no records of the size that this format has"};
  }
  generate(stream, s, Tensor::q, job->asked->q, job->q);
  generate(stream, s, Tensor::k, job->asked->k, job->k);
  generate(stream, s, Tensor::v, job->asked->v, job->v);
  run_kernel(kernel, stream, *job, job->runs[0], first_poison);
  run_kernel(kernel, stream, *job, job->runs[1], second_poison);
  compare(stream, *job);
  const Cache c = take_cache(memory, *job);
  unpack(stream, s, c);
  check_codes(stream, s, c, job->k, job->v, &job->counters->wrong_codes);
  check_words(stream, s, c, job->k, job->v, &job->counters->wrong_codes);
  bound(memory, stream, a, c, job);
  accept(stream, s, job->bound, reinterpret_cast<const uint16_t*>(job->runs[0].output.data),
         reinterpret_cast<const float*>(job->runs[0].lse.data), &job->counters->worst,
         &job->counters->rejected);
}

struct State {
  Memory memory;
  Job last{};
  bool has_last = false;
};

static State& state() {
  static State s;
  return s;
}

static void write_text(const std::string& from, char* to, size_t bytes) {
  if (to != nullptr && bytes > 0) snprintf(to, bytes, "%s", from.c_str());
}

static void write_verdict(const Job& job, const Counters& c, kvp_twin_verdict* out) {
  const Shape& s = job.shape;
  out->wrong_codes = c.wrong_codes;
  out->redzone_bytes = c.redzone;
  out->changed_inputs = c.changed;
  out->unwritten_bytes = c.unwritten;
  out->differing_bytes = c.differing;
  out->stray_bytes = c.stray;
  out->rejected = c.rejected;
  memcpy(&out->ratio, &c.worst, sizeof out->ratio);
  out->elements = static_cast<uint64_t>(s.rows * (s.head_size + 1));
  out->values = static_cast<uint64_t>(2 * s.tokens_total * s.kv_heads * s.head_size);
  out->defined_bytes =
      job.sizes.cache_bytes + static_cast<uint64_t>(s.rows * (2 * s.head_size + 4));
}

static kvp_status judge(const kvp_kernel* kernel, const kvp_arithmetic* arithmetic,
                        const kvp_twin_case* cases, uint32_t count, kvp_twin_verdict* verdicts,
                        char* err, size_t err_bytes) {
  State& st = state();
  st.has_last = false;
  try {
    const Arithmetic a{static_cast<double>(arithmetic->fraction),
                       static_cast<double>(arithmetic->fused_products),
                       static_cast<double>(arithmetic->sum_lanes),
                       static_cast<double>(arithmetic->rescale_tokens)};
    st.memory.begin(kernel);
    std::vector<Job> jobs(count);
    auto* counters = st.memory.array<Counters>(count);
    st.memory.keep();
    clear(stream_at(0), counters, count * sizeof(Counters));
    synchronize();
    for (uint32_t i = 0; i < count; i++) {
      Job& job = jobs[i];
      verdicts[i] = kvp_twin_verdict{};
      job.problem = cases[i].problem;
      job.asked = &cases[i];
      job.counters = counters + i;
      try {
        judge_case(*kernel, a, &st.memory, stream_at(i), &job);
      } catch (const Failure& failure) {
        if (failure.status == KVP_DEVICE) throw;
        verdicts[i].status = failure.status;
        write_text(failure.text, verdicts[i].text, sizeof verdicts[i].text);
      }
      if (st.memory.used() < batch_bytes || i + 1 == count) continue;
      synchronize();
      st.memory.rewind();
    }
    synchronize();
    std::vector<Counters> found(count);
    download(found.data(), counters, count * sizeof(Counters));
    for (uint32_t i = 0; i < count; i++) {
      if (verdicts[i].status == KVP_OK) write_verdict(jobs[i], found[i], &verdicts[i]);
    }
    if (count > 0 && verdicts[count - 1].status == KVP_OK) {
      st.last = jobs[count - 1];
      st.has_last = true;
    }
    return KVP_OK;
  } catch (const Failure& failure) {
    write_text(failure.text, err, err_bytes);
    return failure.status;
  } catch (const std::exception& error) {
    write_text(error.what(), err, err_bytes);
    return KVP_INVALID;
  }
}

static kvp_status read(const kvp_twin_arrays* to, char* err, size_t err_bytes) {
  const State& st = state();
  if (!st.has_last) {
    write_text("read: no case was judged last", err, err_bytes);
    return KVP_INVALID;
  }
  try {
    const Job& job = st.last;
    const Shape& s = job.shape;
    const Run& run = job.runs[0];
    const auto rows = static_cast<uint64_t>(s.rows),
               elements = rows * static_cast<uint64_t>(s.head_size);
    const auto kv = static_cast<uint64_t>(s.tokens_total * s.kv_heads * s.head_size);
    download(to->q, job.q, 2 * elements);
    download(to->k, job.k, 2 * kv);
    download(to->v, job.v, 2 * kv);
    download(to->cache, run.cache.data, static_cast<uint64_t>(run.cache.bytes));
    download(to->k_residual, run.k_window.data, static_cast<uint64_t>(run.k_window.bytes));
    download(to->v_residual, run.v_window.data, static_cast<uint64_t>(run.v_window.bytes));
    download(to->output, run.output.data, 2 * elements);
    download(to->lse, run.lse.data, 4 * rows);
    download(to->reference, job.bound.output, 8 * elements);
    download(to->radius, job.bound.radius, 8 * elements);
    download(to->bound, job.bound.bound, 8 * elements);
    download(to->alternative, job.bound.alternative, 8 * elements);
    download(to->reference_lse, job.bound.lse, 8 * rows);
    download(to->lse_bound, job.bound.lse_bound, 8 * rows);
    download(to->value_max, job.bound.value_max, 8 * rows);
    download(to->guarded, job.bound.guarded, rows);
    return KVP_OK;
  } catch (const Failure& failure) {
    write_text(failure.text, err, err_bytes);
    return failure.status;
  }
}

static void release() {
  State& st = state();
  st.memory.release();
  st.has_last = false;
}

}  // namespace kvproof_reference

extern "C" const kvp_twin* kvproof_twin(void) {
  using namespace kvproof_reference;
  static const kvp_twin twin = {KVPROOF_TWIN_VERSION, sizeof(kvp_twin), judge, read, release};
  return &twin;
}
