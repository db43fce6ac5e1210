// run.cpp - one run of a case: buffers, inputs, quantize, decode, and what was written where.
#include "run.h"

namespace kvproof {
namespace {

// The most that one typed array of Node 20 can hold (buffer.constants.MAX_LENGTH is 2^32).
constexpr uint64_t kBufferBytesMax = (1ull << 32) - 1;

// Reports of one kind and place are counted by the emulator, so more than this is a runaway.
constexpr uint32_t kReportsMax = 4096;

struct RunBuffers {
  GuardedBuffer q, k, v;                        // inputs of the run
  GuardedBuffer cache, k_residual, v_residual;  // written by quantize, read by decode
  GuardedBuffer workspace, output, lse;         // written by decode

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

Answer ask_sizes(const Library& library, const kvp_problem& problem, kvp_sizes* sizes) {
  Answer answer = ask("sizes", [&](char* err, size_t err_bytes) {
    return library.table().sizes(&problem, sizes, err, err_bytes);
  });
  if (answer.ok()) answer = check_size("cache", sizes->cache_bytes, 1);
  if (answer.ok()) answer = check_size("residual", sizes->residual_bytes, sizeof(uint16_t));
  if (answer.ok()) answer = check_size("workspace", sizes->workspace_bytes, 1);
  return answer;
}

Answer allocate(const Library& library, const Problem& problem, const kvp_sizes& sizes,
                const Inputs& inputs, uint8_t poison, RunBuffers* buffers) {
  const uint64_t query_bytes = problem.query_elements() * sizeof(uint16_t);
  const uint64_t kv_bytes = problem.kv_elements() * sizeof(uint16_t);
  const uint64_t lse_bytes = problem.lse_elements() * sizeof(float);
  struct Plan {
    GuardedBuffer* buffer;
    const char* name;
    uint64_t bytes;
    const void* initial;
  };
  const Plan plans[] = {
      {&buffers->q, "q", query_bytes, inputs.q},
      {&buffers->k, "k", kv_bytes, inputs.k},
      {&buffers->v, "v", kv_bytes, inputs.v},
      {&buffers->cache, "cache", sizes.cache_bytes, nullptr},
      {&buffers->k_residual, "kResidual", sizes.residual_bytes, nullptr},
      {&buffers->v_residual, "vResidual", sizes.residual_bytes, nullptr},
      {&buffers->workspace, "workspace", sizes.workspace_bytes, nullptr},
      {&buffers->output, "output", query_bytes, nullptr},
      {&buffers->lse, "lse", lse_bytes, nullptr},
  };
  for (const Plan& plan : plans) {
    const Answer answer =
        plan.buffer->allocate(library.memory(), plan.name, plan.bytes, plan.initial, poison);
    if (!answer.ok()) return answer;
  }
  return Answer{};
}

using Stage = kvp_status (*)(const kvp_problem*, const kvp_buffers*, void*, char*, size_t);

// Launches one stage on the default stream and waits for it.
Answer run_stage(const Library& library, const char* name, Stage stage, const kvp_problem& problem,
                 const kvp_buffers& buffers) {
  const Answer launched = ask(name, [&](char* err, size_t err_bytes) {
    return stage(&problem, &buffers, nullptr, err, err_bytes);
  });
  if (!launched.ok()) return launched;
  return ask(name, [&](char* err, size_t err_bytes) {
    return library.memory().synchronize(nullptr, err, err_bytes);
  });
}

Answer freeze_cache(RunBuffers* buffers, std::vector<Violation>* violations) {
  for (GuardedBuffer* buffer : {&buffers->cache, &buffers->k_residual, &buffers->v_residual}) {
    const Answer answer = buffer->freeze(violations);
    if (!answer.ok()) return answer;
  }
  return Answer{};
}

Answer inspect_all(RunBuffers* buffers, std::vector<Violation>* violations) {
  for (GuardedBuffer* buffer :
       {&buffers->q, &buffers->k, &buffers->v, &buffers->cache, &buffers->k_residual,
        &buffers->v_residual, &buffers->workspace, &buffers->output, &buffers->lse}) {
    const Answer answer = buffer->inspect(violations);
    if (!answer.ok()) return answer;
  }
  buffers->output.find_unwritten(sizeof(uint16_t), violations);
  buffers->lse.find_unwritten(sizeof(float), violations);
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
}

Answer run_stages(const Library& library, const Problem& problem, const Inputs& inputs,
                  const RunOptions& options, RunBuffers* buffers, RunOutcome* outcome) {
  const kvp_problem view = problem.view();
  kvp_sizes sizes{};
  Answer answer = ask_sizes(library, view, &sizes);
  if (answer.ok()) answer = allocate(library, problem, sizes, inputs, options.poison, buffers);
  if (!answer.ok()) return answer;
  const kvp_buffers pointers = buffers->view();
  answer = run_stage(library, "quantize", library.table().quantize, view, pointers);
  if (answer.ok()) answer = freeze_cache(buffers, &outcome->violations);
  if (answer.ok()) answer = run_stage(library, "decode", library.table().decode, view, pointers);
  return answer;
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
  if (answer.ok()) answer = inspect_all(&buffers, &outcome.violations);
  if (answer.status == KVP_DEVICE) return ended(RunOutcome::Kind::device_error, answer.text);
  if (!answer.ok()) return ended(RunOutcome::Kind::refused, answer.text);
  copy_results(buffers, &outcome);
  return outcome;
}

}  // namespace kvproof
