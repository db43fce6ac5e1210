// refusal.cpp - asks a kernel for what it must refuse, and looks whether it touched anything.
#include "refusal.h"

#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>
#include <map>

#include "buffers.h"
#include "refusal_text.h"

namespace kvproof {
namespace {

// A NaN in every type, as in the first run of a case.
constexpr uint8_t kPoison = 0xFF;

struct ProblemFault {
  const char* name;
  // true: wrong for any kernel, so the status is KVP_INVALID; false: a kernel may say unsupported.
  bool invalid;
  std::function<void(kvp_problem*)> change;
};

// A length of -1 and 127 elements in a head are wrong whatever the rest of the problem says.
const Lengths kNegativeLength = {-1};
// Two records and a tail, and what cannot be kept of them.
const Lengths kLength = {300}, kPartOfRecord = {100}, kMoreThanLength = {384};
const Lengths kOneRecord = {130}, kBelowZero = {-128};

// One request of kLength tokens behind a page table of `stride` entries.
void put_behind_table(kvp_problem* p, uint32_t stride, const int64_t* kept) {
  p->requests = 1, p->tokens = kLength.data(), p->kept = kept;
  p->page_table_stride = stride, p->pool_pages = 4;
}

// Two query heads of two query tokens, with these distances.
void space_queries(kvp_problem* p, uint64_t token, uint64_t head) {
  p->query_heads = p->kv_heads = 2, p->query_tokens = 2;
  p->q_token_stride = token, p->q_head_stride = head;
}

std::vector<ProblemFault> problem_faults() {
  const float infinite = std::numeric_limits<float>::infinity();
  const float no_number = std::numeric_limits<float>::quiet_NaN();
  return {
      {"0 requests", true, [](kvp_problem* p) { p->requests = 0; }},
      {"0 query heads", true, [](kvp_problem* p) { p->query_heads = 0; }},
      {"0 KV heads", true, [](kvp_problem* p) { p->kv_heads = 0; }},
      {"query heads that KV heads do not divide", true,
       [](kvp_problem* p) { p->kv_heads = 2, p->query_heads = 3; }},
      {"head size 0", false, [](kvp_problem* p) { p->head_size = 0; }},
      {"head size 127", false, [](kvp_problem* p) { p->head_size = 127; }},
      {"head size 96", false, [](kvp_problem* p) { p->head_size = 96; }},
      {"codes of 0 bits", false, [](kvp_problem* p) { p->bits = 0; }},
      {"codes of 3 bits", false, [](kvp_problem* p) { p->bits = 3; }},
      {"a group of 0", false, [](kvp_problem* p) { p->group = 0; }},
      {"a group of 96", false, [](kvp_problem* p) { p->group = 96; }},
      {"a group of 127", false, [](kvp_problem* p) { p->group = 127; }},
      {"axis 7", false, [](kvp_problem* p) { p->k_axis = 7; }},
      {"softmax scale NaN", true, [no_number](kvp_problem* p) { p->softmax_scale = no_number; }},
      {"softmax scale Inf", true, [infinite](kvp_problem* p) { p->softmax_scale = infinite; }},
      {"the format \"nonsense\"", false, [](kvp_problem* p) { p->format = "nonsense"; }},
      {"a length of -1", true,
       [](kvp_problem* p) {
         p->requests = 1, p->tokens = kNegativeLength.data(), p->kept = nullptr;
       }},
      {"tokens null", true, [](kvp_problem* p) { p->tokens = nullptr; }},
      {"a struct of another size", true, [](kvp_problem* p) { p->struct_bytes += 8; }},
      {"0 query tokens", false, [](kvp_problem* p) { p->query_tokens = 0; }},
      {"type 7", false, [](kvp_problem* p) { p->type = 7; }},
      {"a distance of heads of 4 more than their size", false,
       [](kvp_problem* p) { space_queries(p, 2 * p->head_size + 8, p->head_size + 4); }},
      {"a distance of tokens of 4 more than their size", false,
       [](kvp_problem* p) { space_queries(p, 2 * p->head_size + 4, p->head_size); }},
      {"heads that overlap", false, [](kvp_problem* p) { space_queries(p, 0, 8); }},
      {"tokens that overlap", false,
       [](kvp_problem* p) { space_queries(p, p->head_size, p->head_size); }},
      {"a page table of 1 entry for 2 records", false,
       [](kvp_problem* p) { put_behind_table(p, 1, nullptr); }},
      {"a pool without a page table", false,
       [](kvp_problem* p) { put_behind_table(p, 0, nullptr); }},
      {"a page table into a pool of 0 pages", false,
       [](kvp_problem* p) {
         put_behind_table(p, 1, nullptr);
         p->tokens = kOneRecord.data(), p->pool_pages = 0;
       }},
      {"kept tokens that end within a record", false,
       [](kvp_problem* p) { put_behind_table(p, 2, kPartOfRecord.data()); }},
      {"kept tokens below 0", false,
       [](kvp_problem* p) { put_behind_table(p, 2, kBelowZero.data()); }},
      {"more kept tokens than there are", false,
       [](kvp_problem* p) { put_behind_table(p, 2, kMoreThanLength.data()); }},
  };
}

std::string status_text(kvp_status status) {
  return "status " + std::to_string(static_cast<int>(status));
}

// Notes an answer to a wrong argument that is no refusal, or one without a reason; true: it was.
bool note_unrefused(std::vector<Unrefused>* found, const char* call, const std::string& fault,
                    const Answer& answer, bool invalid) {
  const bool refused = invalid ? answer.status == KVP_INVALID : !answer.ok();
  if (refused && !answer.wordless) return false;
  found->push_back(
      {call, fault, refused ? "a refusal without a message" : status_text(answer.status)});
  return true;
}

void ask_problems(const Library& library, const kvp_problem& right, std::vector<Unrefused>* found) {
  for (const ProblemFault& fault : problem_faults()) {
    kvp_problem wrong = right;
    fault.change(&wrong);
    const Answer supported = library.supports(wrong);
    note_unrefused(found, "supports", fault.name, supported, fault.invalid);
    kvp_sizes sizes{};
    const Answer sized = ask("sizes", [&](char* err, size_t err_bytes) {
      return library.table().sizes(&wrong, &sizes, err, err_bytes);
    });
    note_unrefused(found, "sizes", fault.name, sized, false);
  }
}

// One pointer of kvp_buffers.
struct Pointer {
  const char* name;
  size_t offset;  // in kvp_buffers
  bool is_written = false;
};

const Pointer kQuantizePointers[] = {
    {"k", offsetof(kvp_buffers, k)},
    {"v", offsetof(kvp_buffers, v)},
    {"cache", offsetof(kvp_buffers, cache), true},
    {"k_residual", offsetof(kvp_buffers, k_residual), true},
    {"v_residual", offsetof(kvp_buffers, v_residual), true},
};
const Pointer kDecodePointers[] = {
    {"q", offsetof(kvp_buffers, q)},
    {"cache", offsetof(kvp_buffers, cache)},
    {"k_residual", offsetof(kvp_buffers, k_residual)},
    {"v_residual", offsetof(kvp_buffers, v_residual)},
    {"workspace", offsetof(kvp_buffers, workspace), true},
    {"output", offsetof(kvp_buffers, output), true},
    {"lse", offsetof(kvp_buffers, lse), true},
};

const Pointer kDequantizePointers[] = {
    {"cache", offsetof(kvp_buffers, cache)},
    {"k_residual", offsetof(kvp_buffers, k_residual)},
    {"v_residual", offsetof(kvp_buffers, v_residual)},
    {"k_out", offsetof(kvp_buffers, k_out), true},
    {"v_out", offsetof(kvp_buffers, v_out), true},
};

// Buffers of a problem, all of them poison.
class Buffers {
 public:
  Answer allocate(const Library& library, const Problem& problem, const kvp_sizes& sizes) {
    const kvp_memory& memory = library.memory();
    const uint64_t queries = problem.query_elements() * 2, rows = problem.kv_elements() * 2;
    const uint64_t lse = problem.lse_elements() * sizeof(float);
    const uint64_t bytes[] = {queries,
                              rows,
                              rows,
                              sizes.cache_bytes,
                              sizes.residual_bytes,
                              sizes.residual_bytes,
                              sizes.workspace_bytes,
                              queries,
                              lse,
                              rows,
                              rows};
    uint64_t sum = 0;
    for (size_t i = 0; i < kCount; ++i) {
      const Answer answer = all_[i].allocate(memory, kNames[i], bytes[i], nullptr, kPoison);
      if (!answer.ok()) return answer;
      bytes_[kNames[i]] = bytes[i];
      sum += bytes[i];
    }
    return two_.allocate(memory, "two buffers", sum, nullptr, kPoison);
  }

  // Room for any two buffers, one behind the other.
  uint8_t* two() const { return two_.device<uint8_t>(); }
  uint64_t bytes(const char* name) const { return bytes_.at(name); }

  kvp_buffers view() const {
    kvp_buffers b{};
    b.q = all_[0].device<const uint16_t>();
    b.k = all_[1].device<const uint16_t>();
    b.v = all_[2].device<const uint16_t>();
    b.cache = all_[3].device<uint8_t>();
    b.k_residual = all_[4].device<uint16_t>();
    b.v_residual = all_[5].device<uint16_t>();
    b.workspace = all_[6].device<uint8_t>();
    b.output = all_[7].device<uint16_t>();
    b.lse = all_[8].device<float>();
    b.k_out = all_[9].device<uint16_t>();
    b.v_out = all_[10].device<uint16_t>();
    return b;
  }

  // The first buffer that is no longer what it was, or null.
  const char* touched() {
    for (size_t i = 0; i < kCount; ++i) {
      std::vector<Violation> violations;
      // freeze: what is there from now on counts as an input, so any change shows.
      if (!all_[i].freeze(&violations).ok() || !violations.empty()) return kNames[i];
    }
    std::vector<Violation> violations;
    if (!two_.freeze(&violations).ok() || !violations.empty()) return "one of them";
    return nullptr;
  }

 private:
  static constexpr size_t kCount = 11;
  static constexpr const char* kNames[kCount] = {"q",          "k",          "v",         "cache",
                                                 "k_residual", "v_residual", "workspace", "output",
                                                 "lse",        "k_out",      "v_out"};
  GuardedBuffer all_[kCount], two_;
  std::map<std::string, uint64_t> bytes_;
};

using Stage = kvp_status (*)(const kvp_problem*, const kvp_buffers*, void*, char*, size_t);

void set_pointer(kvp_buffers* buffers, const Pointer& pointer, const uint8_t* address) {
  std::memcpy(reinterpret_cast<uint8_t*>(buffers) + pointer.offset, &address, sizeof(address));
}

// A buffer that is written and any other one: the one begins in the last 16 bytes of the other.
template <size_t N>
void ask_overlaps(const char* name, Stage stage, const Pointer (&pointers)[N],
                  const kvp_problem& problem, Buffers* buffers, std::vector<Unrefused>* found) {
  std::string fault;
  for (const Pointer& first : pointers) {
    for (const Pointer& second : pointers) {
      if (&first == &second || !(first.is_written || second.is_written)) continue;
      if (buffers->bytes(first.name) == 0) continue;
      kvp_buffers wrong = buffers->view();
      set_pointer(&wrong, first, buffers->two());
      set_pointer(&wrong, second, buffers->two() + (buffers->bytes(first.name) - 1) / 16 * 16);
      fault = std::string(second.name) + " in the last bytes of " + first.name;
      const Answer answer = ask(name, [&](char* err, size_t err_bytes) {
        return stage(&problem, &wrong, nullptr, err, err_bytes);
      });
      if (!note_unrefused(found, name, fault, answer, true)) continue;
      return;  // something may have run with it: what comes after proves nothing
    }
  }
  const char* touched = buffers->touched();
  if (touched != nullptr) found->push_back({name, fault, std::string(touched) + " was written"});
}

template <size_t N>
void ask_pointers(const char* name, Stage stage, const Pointer (&pointers)[N],
                  const kvp_problem& problem, Buffers* buffers, std::vector<Unrefused>* found) {
  for (const Pointer& pointer : pointers) {
    for (const bool null : {true, false}) {
      kvp_buffers wrong = buffers->view();
      uint8_t* address = nullptr;
      std::memcpy(&address, reinterpret_cast<uint8_t*>(&wrong) + pointer.offset, sizeof(address));
      set_pointer(&wrong, pointer, null ? nullptr : address + 8);
      const std::string fault = std::string(pointer.name) + (null ? " null" : " off by 8 bytes");
      const Answer answer = ask(name, [&](char* err, size_t err_bytes) {
        return stage(&problem, &wrong, nullptr, err, err_bytes);
      });
      // Something may have run with it: what comes after proves nothing.
      if (note_unrefused(found, name, fault, answer, true)) return;
      const char* touched = buffers->touched();
      if (touched == nullptr) continue;
      found->push_back({name, fault, std::string(touched) + " was written"});
      return;
    }
  }
  ask_overlaps(name, stage, pointers, problem, buffers, found);
}

// The pages of a cache without a table would have to move.
void ask_append_without_table(Stage append, const kvp_problem& problem, Buffers* buffers,
                              std::vector<Unrefused>* found) {
  const kvp_buffers pointers = buffers->view();
  const Answer answer = ask("append", [&](char* err, size_t err_bytes) {
    return append(&problem, &pointers, nullptr, err, err_bytes);
  });
  const std::string fault = "no page table";
  if (note_unrefused(found, "append", fault, answer, true)) return;
  const char* touched = buffers->touched();
  if (touched != nullptr)
    found->push_back({"append", fault, std::string(touched) + " was written"});
}

// A kernel looks only at the buffers that it uses, so a case says something about pointers only if
// it has records and a tail. A cache behind a page table is left to the cases themselves.
bool uses_every_buffer(const Problem& problem, const kvp_sizes& sizes) {
  bool records = false, tail = false;
  for (const int64_t length : problem.tokens) {
    records = records || length >= KVP_RECORD_TOKENS;
    tail = tail || length % KVP_RECORD_TOKENS != 0;
  }
  const bool plain = problem.page_table_stride == 0 && problem.input_padding == 0;
  return plain && records && tail && sizes.workspace_bytes > 0;
}

}  // namespace

std::vector<Unrefused> unrefused(const Library& library, const Problem& problem) {
  std::vector<Unrefused> found;
  const kvp_problem right = problem.view();
  ask_problems(library, right, &found);
  ask_for_short_texts(library, right, &found);
  ask_for_stated_limits(library, right, &found);
  kvp_sizes sizes{};
  const Answer sized = ask("sizes", [&](char* err, size_t err_bytes) {
    return library.table().sizes(&right, &sizes, err, err_bytes);
  });
  if (!found.empty() || !sized.ok() || !uses_every_buffer(problem, sizes)) return found;
  const MemoryScope scope(library.memory());
  Buffers buffers;
  if (!buffers.allocate(library, problem, sizes).ok() || buffers.touched() != nullptr) return found;
  ask_pointers("quantize", library.table().quantize, kQuantizePointers, right, &buffers, &found);
  if (!found.empty()) return found;
  const kvp_kernel& table = library.table();
  ask_pointers("decode", table.decode, kDecodePointers, right, &buffers, &found);
  if (!found.empty()) return found;
  if (table.append != nullptr) ask_append_without_table(table.append, right, &buffers, &found);
  if (!found.empty() || table.dequantize == nullptr) return found;
  ask_pointers("dequantize", table.dequantize, kDequantizePointers, right, &buffers, &found);
  return found;
}

}  // namespace kvproof
