// hardware_test.cpp - every function of device.h gives the bits of an H100 on the emulator.
#include "hardware_cases.h"

#include "test_device.h"

namespace {

// What hardware_record.cu printed on an H100 80GB HBM3, driver 580.159.04, CUDA 13.0, 2026-11-24.
constexpr struct {
  const char* group;
  uint64_t hash;
} kRecorded[] = {{"f32", 0xbf99edd4b81f2034},    {"special", 0xa802523665b7d3be},
                 {"halves", 0xec256a0f4c680726}, {"warp", 0x01042f8f4157c4d7},
                 {"matrix", 0x156ab9d82fe5d2ab}, {"mma", 0x2dfe59cbcc26a9bd},
                 {"block", 0x0572c9f1b1b95ea5}};

uint64_t emulated(const hardware::Group& group, const test::Schedule& schedule) {
  test::start(schedule);
  uint32_t* out = test::upload(std::vector<uint32_t>(hardware::out_words), "out");
  dev::launch(group.kernel, hardware::shape(), out);
  const auto words = test::download(out, hardware::out_words);
  return test::reports().empty() ? hardware::hash(words.data()) : 0;
}

}  // namespace

int main() {
  int group = 0;
  for (const auto& recorded : kRecorded) {
    const hardware::Group& g = hardware::groups[group++];
    bool same = std::string(g.name) == recorded.group;
    for (const test::Schedule& s : test::schedules(1))
      same = same && emulated(g, s) == recorded.hash;
    const std::string text = std::string(g.name) + ": the bits of an H100 under every schedule";
    check::claim(same, text.c_str());
  }
  // The recording can tell: with the arithmetic of sm_80 the products are others.
  const uint64_t other = emulated(hardware::groups[5], {"round-robin", "eager", 1, 0, 80});
  check::claim(other != 0 && other != kRecorded[5].hash, "mma of sm_80 is told apart");
  return check::finish();
}
