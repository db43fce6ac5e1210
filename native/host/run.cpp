// run.cpp - one run of a case: buffers, inputs, the stages, and what was written where.
#include "run.h"

#include <time.h>

#include <algorithm>

#include "arrangement.h"

namespace kvproof {
namespace {

// The most that one typed array of Node 20 can hold (buffer.constants.MAX_LENGTH is 2^32).
constexpr uint64_t kBufferBytesMax = (1ull << 32) - 1;

// Reports of one kind and place are counted by the emulator, so more than this is a runaway.
constexpr uint32_t kReportsMax = 4096;

// A buffer that a run does without stays empty, and its pointer null.
struct RunBuffers {
  GuardedBuffer q, k, v;                        // inputs of the run
  GuardedBuffer page_table;                     // input, of a cache with one
  GuardedBuffer k_appended, v_appended;         // inputs of append, step by step
  GuardedBuffer cache, k_residual, v_residual;  // written by quantize and append, read by decode
  GuardedBuffer workspace, output, lse;         // written by decode
  GuardedBuffer k_values, v_values;             // written by dequantize

  std::vector<GuardedBuffer*> used;  // in the order of allocation

  kvp_buffers view() const {
    kvp_buffers buffers{};
    buffers.q = q.device<const uint16_t>();
    buffers.k = k.device<const uint16_t>();
    buffers.v = v.device<const uint16_t>();
    buffers.cache = cache.device<uint8_t>();
    buffers.k_residual = k_residual.device<uint16_t>();
    buffers.v_residual = v_residual.device<uint16_t>();
    buffers.workspace = workspace.device<uint8_t>();
    buffers.output = output.device<uint16_t>();
    buffers.lse = lse.device<float>();
    buffers.page_table = page_table.device<const int32_t>();
    buffers.k_out = k_values.device<uint16_t>();
    buffers.v_out = v_values.device<uint16_t>();
    return buffers;
  }
};

Answer check_size(const char* name, uint64_t bytes, uint64_t element_bytes) {
  if (bytes > kBufferBytesMax) {
    return Answer{KVP_INVALID, std::string("sizes: ") + name + " of " + std::to_string(bytes) +
                                   " bytes, at most 4294967295 are possible"};
  }
  if (bytes % element_bytes != 0) {
    return Answer{KVP_INVALID, std::string("sizes: ") + name + " of " + std::to_string(bytes) +
                                   " bytes is no whole number of fp16 elements"};
  }
  return Answer{};
}

// Bytes of the pool before the first page that stands in memory.
uint64_t skipped_bytes(const Problem& problem, const kvp_sizes& sizes) {
  if (problem.first_page == 0) return 0;
  const uint64_t pages = uint64_t{problem.first_page} + problem.pool_pages;
  return sizes.cache_bytes / pages * problem.first_page;
}

Answer ask_sizes(const Library& library, const Problem& of_case, const kvp_problem& problem,
                 kvp_sizes* sizes) {
  Answer answer = ask("sizes", [&](char* err, size_t err_bytes) {
    return library.table().sizes(&problem, sizes, err, err_bytes);
  });
  if (answer.ok()) {
    answer = check_size("cache", sizes->cache_bytes - skipped_bytes(of_case, *sizes), 1);
  }
  if (answer.ok()) answer = check_size("residual", sizes->residual_bytes, sizeof(uint16_t));
  if (answer.ok()) answer = check_size("workspace", sizes->workspace_bytes, 1);
  return answer;
}

// Allocates in the order of the calls, until one fails.
class Allocation {
 public:
  Allocation(const Library& library, uint8_t poison, RunBuffers* buffers)
      : memory_(library.memory()), poison_(poison), buffers_(buffers) {}

  void input(GuardedBuffer* buffer, const char* name, const Arranged& arranged) {
    if (!add(buffer, name, arranged.bytes, arranged.data)) return;
    buffer->forbid(arranged.gaps);
  }
  void written(GuardedBuffer* buffer, const char* name, uint64_t bytes) {
    add(buffer, name, bytes, nullptr);
  }
  // A device without so much memory says nothing about the kernel.
  void cache(GuardedBuffer* buffer, uint64_t bytes, uint64_t skipped) {
    if (add(buffer, "cache", bytes, nullptr, skipped) || skipped == 0) return;
    answer_.status = KVP_UNSUPPORTED;
  }
  const Answer& answer() const { return answer_; }

 private:
  bool add(GuardedBuffer* buffer, const char* name, uint64_t bytes, const void* initial,
           uint64_t skipped = 0) {
    if (answer_.ok()) answer_ = check_size(name, bytes, 1);
    if (answer_.ok()) {
      answer_ = buffer->allocate(memory_, name, bytes, initial, poison_, skipped);
    }
    if (answer_.ok()) buffers_->used.push_back(buffer);
    return answer_.ok();
  }

  const kvp_memory& memory_;
  const uint8_t poison_;
  RunBuffers* const buffers_;
  Answer answer_;
};

// A pool of pages has some that no record lies in; no kernel may look at them.
std::vector<Gap> spare_pages(const Problem& problem, const kvp_sizes& sizes,
                             const int32_t* page_table) {
  std::vector<Gap> gaps;
  if (problem.page_table_stride == 0 || problem.pool_pages == 0) return gaps;
  std::vector<bool> used(problem.pool_pages, false);
  for (size_t r = 0; r < problem.tokens.size(); ++r) {
    const auto records = static_cast<uint64_t>(problem.tokens[r]) / KVP_RECORD_TOKENS;
    const int32_t* pages = page_table + r * problem.page_table_stride;
    for (uint64_t i = 0; i < records; ++i) used[static_cast<size_t>(pages[i])] = true;
  }
  const uint64_t pages = uint64_t{problem.first_page} + problem.pool_pages;
  const uint64_t page_bytes = sizes.cache_bytes / pages;
  for (uint64_t page = 0; page < used.size(); ++page) {
    if (!used[page]) gaps.push_back(Gap{page * page_bytes, page_bytes});
  }
  return gaps;
}

Answer allocate(const Library& library, const Problem& problem, const kvp_sizes& sizes,
                const Inputs& inputs, const RunOptions& options, RunBuffers* buffers) {
  const uint64_t query_bytes = problem.query_elements() * sizeof(uint16_t);
  const uint64_t kv_bytes = problem.kv_elements() * sizeof(uint16_t);
  const uint8_t poison = options.poison;
  const RowStrides keys = problem.key_strides(), values = problem.value_strides();
  const uint64_t token_bytes = std::max(keys.token, values.token) * sizeof(uint16_t);
  const Answer steps =
      check_size("appended tokens", problem.steps() * problem.tokens.size() * token_bytes, 1);
  if (!steps.ok()) return steps;
  Allocation allocation(library, poison, buffers);
  allocation.input(&buffers->q, "q", arrange_queries(problem, inputs.q, poison));
  allocation.input(&buffers->k, "k", arrange_quantized(problem, inputs.k, keys, poison));
  allocation.input(&buffers->v, "v", arrange_quantized(problem, inputs.v, values, poison));
  if (problem.page_table_stride > 0) {
    allocation.input(&buffers->page_table, "pageTable",
                     arrange_page_table(problem, inputs.page_table, poison));
  }
  if (problem.steps() > 0) {
    allocation.input(&buffers->k_appended, "kAppended",
                     arrange_appended(problem, inputs.k, keys, poison));
    allocation.input(&buffers->v_appended, "vAppended",
                     arrange_appended(problem, inputs.v, values, poison));
  }
  const uint64_t skipped = skipped_bytes(problem, sizes);
  allocation.cache(&buffers->cache, sizes.cache_bytes - skipped, skipped);
  allocation.written(&buffers->k_residual, "kResidual", sizes.residual_bytes);
  allocation.written(&buffers->v_residual, "vResidual", sizes.residual_bytes);
  allocation.written(&buffers->workspace, "workspace", sizes.workspace_bytes);
  allocation.written(&buffers->output, "output", query_bytes);
  allocation.written(&buffers->lse, "lse", problem.lse_elements() * sizeof(float));
  if (options.dequantize) {
    allocation.written(&buffers->k_values, "kValues", kv_bytes);
    allocation.written(&buffers->v_values, "vValues", kv_bytes);
  }
  return allocation.answer();
}

using Stage = kvp_status (*)(const kvp_problem*, const kvp_buffers*, void*, char*, size_t);

Answer launch(const char* name, Stage stage, const kvp_problem& problem, const kvp_buffers& buffers,
              void* stream = nullptr) {
  return ask(name, [&](char* err, size_t err_bytes) {
    return stage(&problem, &buffers, stream, err, err_bytes);
  });
}

Answer synchronize(const Library& library, const char* name, void* stream = nullptr) {
  return ask(name, [&](char* err, size_t err_bytes) {
    return library.memory().synchronize(stream, err, err_bytes);
  });
}

// Launches one stage on the default stream and waits for it.
Answer run_stage(const Library& library, const char* name, Stage stage, const kvp_problem& problem,
                 const kvp_buffers& buffers) {
  const Answer launched = launch(name, stage, problem, buffers);
  return launched.ok() ? synchronize(library, name) : launched;
}

// The tokens that are appended, one of each request a step.
Answer run_appends(const Library& library, const Problem& problem, const kvp_buffers& buffers,
                   const RunBuffers& guarded) {
  const uint64_t steps = problem.steps();
  if (steps == 0) return Answer{};
  if (library.table().append == nullptr) {
    return Answer{KVP_UNSUPPORTED, "append: null in the kernel table"};
  }
  const uint64_t k_elements = problem.tokens.size() * problem.key_strides().token;
  const uint64_t v_elements = problem.tokens.size() * problem.value_strides().token;
  for (uint64_t step = 0; step < steps; ++step) {
    const Lengths lengths = problem.appended_lengths(step);
    const Lengths kept = problem.kept_lengths(lengths);
    kvp_buffers of_step = buffers;
    of_step.k = guarded.k_appended.device<const uint16_t>() + step * k_elements;
    of_step.v = guarded.v_appended.device<const uint16_t>() + step * v_elements;
    const Answer launched =
        launch("append", library.table().append, problem.view(lengths, kept), of_step);
    if (!launched.ok()) return launched;
  }
  return synchronize(library, "append");
}

Answer freeze_cache(RunBuffers* buffers, std::vector<Violation>* violations) {
  for (GuardedBuffer* buffer : {&buffers->cache, &buffers->k_residual, &buffers->v_residual}) {
    const Answer answer = buffer->freeze(violations);
    if (!answer.ok()) return answer;
  }
  return Answer{};
}

Answer inspect_all(const Problem& problem, RunBuffers* buffers,
                   std::vector<Violation>* violations) {
  for (GuardedBuffer* buffer : buffers->used) {
    const Answer answer = buffer->inspect(violations);
    if (!answer.ok()) return answer;
  }
  const Element element = problem.type == KVP_BF16 ? Element::bf16 : Element::fp16;
  buffers->output.find_unwritten(element, violations);
  buffers->lse.find_unwritten(Element::fp32, violations);
  return Answer{};
}

// Copies the texts at once: they are valid only until the next call of the kernel.
void collect_reports(const Library& library, RunOutcome* outcome) {
  if (!library.emulated()) return;
  const kvp_emulator& emulator = *library.table().emulator;
  const auto text = [](const char* value) { return std::string(value == nullptr ? "" : value); };
  const uint32_t count = emulator.report_count();
  for (uint32_t i = 0; i < count && i < kReportsMax; ++i) {
    kvp_report report{};
    if (emulator.report(i, &report) != KVP_OK) break;
    outcome->reports.push_back(
        {text(report.kind), text(report.text), text(report.file), report.line, report.count});
  }
  outcome->schedule_hash = emulator.schedule_hash();
}

void copy_results(const RunBuffers& buffers, RunOutcome* outcome) {
  const auto copy = [](const GuardedBuffer& buffer) {
    return std::vector<uint8_t>(buffer.data(), buffer.data() + buffer.bytes());
  };
  outcome->cache = copy(buffers.cache);
  outcome->k_residual = copy(buffers.k_residual);
  outcome->v_residual = copy(buffers.v_residual);
  outcome->output = copy(buffers.output);
  outcome->lse = copy(buffers.lse);
  if (!outcome->dequantized) return;
  outcome->k_values = copy(buffers.k_values);
  outcome->v_values = copy(buffers.v_values);
}

// From nothing to a cache that decode may read.
Answer make_cache(const Library& library, const Problem& problem, const kvp_buffers& pointers,
                  RunBuffers* buffers, RunOutcome* outcome) {
  const Lengths lengths = problem.quantized_lengths();
  const Lengths kept = problem.kept_lengths(lengths);
  Answer answer = run_stage(library, "quantize", library.table().quantize,
                            problem.view(lengths, kept), pointers);
  if (answer.ok()) answer = run_appends(library, problem, pointers, *buffers);
  return answer.ok() ? freeze_cache(buffers, &outcome->violations) : answer;
}

// Long beside a launch: what runs on another stream, or does not wait, has read poison by then.
constexpr uint32_t kLateMs = 20;

// Cache, output and dequantised values on a stream of their own, waited for at the end alone, while
// k and v arrive late for quantize and q for decode.
Answer run_on_stream(const Library& library, const Problem& problem, const kvp_buffers& pointers,
                     bool dequantizes, RunBuffers* buffers) {
  if (library.streams() == nullptr) return Answer{KVP_UNSUPPORTED, "the library has no streams"};
  if (problem.steps() > 0) return Answer{KVP_UNSUPPORTED, "append: not on a stream of its own"};
  const kvp_problem view = problem.view();
  void* stream = nullptr;
  const kvp_streams& streams = *library.streams();
  Answer answer = ask("streams.open", [&](char* err, size_t err_bytes) {
    return streams.open(&stream, err, err_bytes);
  });
  // Before anything is on the stream: an allocation may wait for all of it.
  for (GuardedBuffer* buffer : {&buffers->q, &buffers->k, &buffers->v}) {
    if (answer.ok()) answer = buffer->hide();
  }
  if (answer.ok()) answer = buffers->k.arrive_later(streams, stream, kLateMs);
  if (answer.ok()) answer = buffers->v.arrive_later(streams, stream, 0);
  if (answer.ok()) answer = launch("quantize", library.table().quantize, view, pointers, stream);
  if (answer.ok()) answer = buffers->q.arrive_later(streams, stream, kLateMs);
  if (answer.ok()) answer = launch("decode", library.table().decode, view, pointers, stream);
  if (answer.ok() && dequantizes) {
    answer = launch("dequantize", library.table().dequantize, view, pointers, stream);
  }
  // Also after a failure: what is on its way needs its memory.
  const Answer waited = synchronize(library, "decode", stream);
  return answer.ok() ? waited : answer;
}

double seconds_now(const Library& library) {
  timespec now{};
  clock_gettime(library.emulated() ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Answer run_stages(const Library& library, const Problem& problem, const Inputs& inputs,
                  const RunOptions& options, RunBuffers* buffers, RunOutcome* outcome) {
  const kvp_problem view = problem.view();
  kvp_sizes sizes{};
  Answer answer = ask_sizes(library, problem, view, &sizes);
  outcome->pages = sizes.pages;
  outcome->splits = sizes.splits;
  if (answer.ok()) answer = allocate(library, problem, sizes, inputs, options, buffers);
  if (answer.status == KVP_UNSUPPORTED) outcome->kind = RunOutcome::Kind::unsupported;
  if (!answer.ok()) return answer;
  buffers->cache.forbid(spare_pages(problem, sizes, inputs.page_table));
  const kvp_buffers pointers = buffers->view();
  if (options.dequantize && library.table().dequantize == nullptr) {
    return Answer{KVP_UNSUPPORTED, "dequantize: null in the kernel table"};
  }
  outcome->dequantized = options.dequantize;
  if (options.own_stream) {
    return run_on_stream(library, problem, pointers, options.dequantize, buffers);
  }
  answer = make_cache(library, problem, pointers, buffers, outcome);
  const double started = seconds_now(library);
  for (uint32_t i = 0; answer.ok() && (i == 0 || i < options.decodes); i++) {
    answer = run_stage(library, "decode", library.table().decode, view, pointers);
  }
  outcome->decode_seconds = seconds_now(library) - started;
  outcome->timed = options.decodes > 0;
  if (!answer.ok() || !options.dequantize) return answer;
  return run_stage(library, "dequantize", library.table().dequantize, view, pointers);
}

}  // namespace

RunOutcome run(const Library& library, const Problem& problem, const Inputs& inputs,
               const RunOptions& options) {
  RunOutcome outcome;
  const MemoryScope scope(library.memory());
  const auto ended = [&outcome](RunOutcome::Kind kind, const std::string& reason) {
    outcome.kind = kind;
    outcome.reason = reason;
    return outcome;
  };

  Answer answer = library.configure(options.schedule);
  if (!answer.ok()) return ended(RunOutcome::Kind::refused, answer.text);
  answer = library.supports(problem.view());
  if (answer.status == KVP_DEVICE) return ended(RunOutcome::Kind::device_error, answer.text);
  if (!answer.ok()) return ended(RunOutcome::Kind::unsupported, answer.text);

  RunBuffers buffers;
  answer = run_stages(library, problem, inputs, options, &buffers, &outcome);
  collect_reports(library, &outcome);
  if (answer.ok()) answer = inspect_all(problem, &buffers, &outcome.violations);
  if (answer.status == KVP_DEVICE) return ended(RunOutcome::Kind::device_error, answer.text);
  if (outcome.kind == RunOutcome::Kind::unsupported) return ended(outcome.kind, answer.text);
  if (!answer.ok()) return ended(RunOutcome::Kind::refused, answer.text);
  copy_results(buffers, &outcome);
  return outcome;
}

}  // namespace kvproof
