// refusal_text.cpp - asks for far too much, reads the limit in the answer and asks for just that.
#include "refusal_text.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <string>

namespace kvproof {
namespace {

// More requests than a kernel takes, and not so many that their lengths need much memory.
constexpr uint64_t kManyRequests = 1 << 21;
constexpr uint64_t kMost32 = std::numeric_limits<uint32_t>::max();
constexpr const char* kAtMost = ", at most ";
constexpr uint64_t kMost64 = std::numeric_limits<int64_t>::max();

// Lengths that a problem borrows while it is asked for.
struct Borrowed {
  Lengths none = Lengths(kManyRequests + 1, 0);
  Lengths one = Lengths(1, 0);
};

struct Field {
  const char* name;  // as a sentence about it begins
  uint64_t too_much;
  std::function<void(kvp_problem*, uint64_t value, Borrowed*)> set;
};

void set_heads(kvp_problem* p, uint64_t query_heads, uint64_t kv_heads) {
  p->query_heads = static_cast<uint32_t>(query_heads);
  p->kv_heads = static_cast<uint32_t>(kv_heads);
}

const std::vector<Field>& fields() {
  static const std::vector<Field> all = {
      {"problem.requests", kManyRequests,
       [](kvp_problem* p, uint64_t n, Borrowed* b) {
         p->requests = static_cast<uint32_t>(n), p->tokens = b->none.data();
       }},
      {"problem.tokens", kMost64,
       [](kvp_problem* p, uint64_t n, Borrowed* b) {
         b->one[0] = static_cast<int64_t>(n);
         p->requests = 1, p->tokens = b->one.data();
       }},
      {"problem.query_heads", kMost32,
       [](kvp_problem* p, uint64_t n, Borrowed*) { set_heads(p, n, 1); }},
      {"problem.kv_heads", kMost32,
       [](kvp_problem* p, uint64_t n, Borrowed*) { set_heads(p, n, n); }},
      {"problem.query_tokens", kMost32,
       [](kvp_problem* p, uint64_t n, Borrowed*) { p->query_tokens = static_cast<uint32_t>(n); }},
      {"problem.splits", kMost32,
       [](kvp_problem* p, uint64_t n, Borrowed*) { p->splits = static_cast<uint32_t>(n); }},
  };
  return all;
}

// Without a page table and distances, which make demands of their own.
kvp_problem plain(const kvp_problem& right) {
  kvp_problem p = right;
  p.page_table_stride = p.pool_pages = 0, p.kept = nullptr;
  p.q_token_stride = p.q_head_stride = p.k_token_stride = 0;
  p.k_head_stride = p.v_token_stride = p.v_head_stride = 0;
  return p;
}

// The limit in "NAME: VALUE ..., at most LIMIT", where an index may follow the name.
std::optional<uint64_t> stated_limit(const std::string& text, const Field& field) {
  const std::string given = ": " + std::to_string(field.too_much);
  const size_t colon = text.find(':'), most = text.rfind(kAtMost);
  const bool names_both = text.rfind(field.name, 0) == 0 && colon != std::string::npos &&
                          text.compare(colon, given.size(), given) == 0;
  if (!names_both || most == std::string::npos) return std::nullopt;
  const char* digits = text.c_str() + most + std::strlen(kAtMost);
  char* end = nullptr;
  const uint64_t limit = std::strtoull(digits, &end, 10);
  if (end == digits || *end != '\0' || limit >= field.too_much) return std::nullopt;
  return limit;
}

void ask_for_limit(const Library& library, const kvp_problem& right, const Field& field,
                   Borrowed* borrowed, std::vector<Unrefused>* found) {
  const auto answer_to = [&](uint64_t value) {
    kvp_problem p = right;
    field.set(&p, value, borrowed);
    return library.supports(p);
  };
  const Answer refused = answer_to(field.too_much);
  const std::optional<uint64_t> limit =
      refused.ok() ? std::nullopt : stated_limit(refused.text, field);
  if (!limit.has_value()) return;
  const std::string stated = field.name + (" at most " + std::to_string(*limit));
  // So much may be refused for another reason, and not for this one.
  const Answer most = answer_to(*limit);
  if (most.text.rfind(field.name, 0) == 0 && most.text.find(kAtMost) != std::string::npos) {
    found->push_back({"supports", "what " + stated + " allows", "\"" + most.text + "\"",
                      "no refusal for that reason"});
  }
  if (!answer_to(*limit + 1).ok()) return;
  found->push_back({"supports", "one more than " + stated, "status 0"});
}

}  // namespace

void ask_for_short_texts(const Library& library, const kvp_problem& right,
                         std::vector<Unrefused>* found) {
  constexpr uint8_t kUntouched = 0x5A;
  kvp_problem wrong = right;
  wrong.requests = 0;
  for (const size_t room : {size_t{1}, size_t{8}}) {
    std::array<char, 64> text;
    text.fill(kUntouched);
    const kvp_status status = library.table().supports(&wrong, text.data(), room);
    if (status == KVP_OK) return;  // what was not refused is reported elsewhere
    const auto end = text.begin() + static_cast<std::ptrdiff_t>(room);
    const bool is_ended = std::find(text.begin(), end, '\0') != end;
    const bool is_kept = std::all_of(end, text.end(), [](char c) { return c == kUntouched; });
    if (is_ended && is_kept) continue;
    found->push_back({"supports", "0 requests with " + std::to_string(room) + " bytes for a text",
                      is_kept ? "a text without an end" : "a text beyond its room",
                      "a text that ends within them"});
  }
}

void ask_for_stated_limits(const Library& library, const kvp_problem& right,
                           std::vector<Unrefused>* found) {
  static Borrowed borrowed;
  const kvp_problem plain_right = plain(right);
  for (const Field& field : fields()) {
    ask_for_limit(library, plain_right, field, &borrowed, found);
  }
}

}  // namespace kvproof
