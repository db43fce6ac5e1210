// schedules_test.cpp - the kernels on the checked emulator under many schedules: nothing is
// reported, and no bit depends on the schedule. Cases are small, but take every path that threads
// share: rings that come round, a tail, several splits and their merge, both axes of K.
//
//   schedules_test [N]    N schedules altogether, 240 unless given
#include <stdlib.h>

#include "kernels_test_run.h"

namespace kernels_test {

using check::claim;

uint32_t schedules = 240;

struct Small {
  const char* name;
  uint32_t bits, group, head_size;
  kvp_axis k_axis;
  int64_t tokens;
  uint32_t splits;
};
constexpr Small smalls[] = {
    {"4 bits, a ring that comes round", 4, 128, 128, KVP_AXIS_CHANNEL, 1100, 1},
    {"2 bits, K per token, splits", 2, 32, 64, KVP_AXIS_TOKEN, 400, 3},
    {"8 bits, a tail alone in its split", 8, 64, 64, KVP_AXIS_CHANNEL, 150, 2},
    {"16 bits", 16, 128, 64, KVP_AXIS_CHANNEL, 300, 2},
};

Case case_of(const Small& small) {
  Case c;
  c.bits = small.bits, c.group = small.group, c.head_size = small.head_size;
  c.k_axis = small.k_axis, c.tokens = {small.tokens}, c.splits = small.splits;
  c.query_heads = 2;
  return c;
}

bool same(const Outcome& x, const Outcome& y) {
  return x.cache == y.cache && x.output == y.output &&
         memcmp(x.lse.data(), y.lse.data(), x.lse.size() * sizeof(float)) == 0;
}

// Schedule i: every policy with every time at which copies land, and a seed of its own.
Machine machine_of(uint32_t i, uint32_t sm) {
  constexpr const char* policies[] = {"random", "pct", "starve", "round-robin"};
  constexpr const char* copies[] = {"lazy", "random", "eager"};
  return {sm, policies[i % 4], copies[i / 4 % 3], i + 1};
}

void test_schedules() {
  constexpr uint32_t architectures[] = {80, 90};  // either ring: cp.async, bulk copies
  const uint32_t each = (schedules + 7) / 8;
  for (const Small& small : smalls) {
    const Case c = case_of(small);
    const Inputs inputs(c);
    for (const uint32_t sm : architectures) {
      const Outcome first = run(c, inputs, {sm}, false);
      uint32_t failed = first.status != KVP_OK || first.reports > 0, moved = 0;
      for (uint32_t i = 0; i < each; i++) {
        const Outcome other = run(c, inputs, machine_of(i, sm), false);
        failed += other.status != KVP_OK || other.reports > 0;
        moved += !same(first, other);
      }
      char text[120];
      snprintf(text, sizeof text, "%s, sm_%u: %u schedules", small.name, sm, each);
      claim(failed == 0 && moved == 0, text, "%u with reports, %u with other bits", failed, moved);
    }
  }
}

}  // namespace kernels_test

int main(int count, char** arguments) {
  using namespace kernels_test;
  if (count > 1) schedules = static_cast<uint32_t>(strtoul(arguments[1], nullptr, 10));
  if (kvproof_kernel()->emulator == nullptr || !kvproof_kernel()->emulator->checked) {
    claim(false, "the kernels run on the checked emulator");
    return check::finish();
  }
  return run_tests({test_schedules});
}
