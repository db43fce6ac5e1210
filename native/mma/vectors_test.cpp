// vectors_test.cpp - the tensor-core models against what a GPU answered
// (corpus/vectors/mma-sm_NN.txt, format in record_vectors.cu): the slow model on every instruction,
// and the fast tile of every instruction set.
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "check.h"
#include "convert.h"
#include "fused_sum.h"
#include "tile.h"

namespace {

struct Recorded {
  std::string inputs;
  mma::Operand operand;
  mma::Accumulator accumulator;
  std::vector<uint32_t> a;  // (16 rows, 16 k)
  std::vector<uint32_t> b;  // (8 columns, 16 k)
  std::vector<uint32_t> c;  // (16 rows, 8 columns)
  std::vector<uint32_t> d;
};

std::vector<uint32_t> parse_hex(const std::string& text, size_t digits) {
  std::vector<uint32_t> values;
  for (size_t i = 0; i + digits <= text.size(); i += digits) {
    values.push_back(
        static_cast<uint32_t>(std::strtoul(text.substr(i, digits).c_str(), nullptr, 16)));
  }
  return values;
}

std::vector<Recorded> read_vectors(const std::string& path) {
  std::vector<Recorded> tiles;
  std::ifstream file(path);
  std::string line, operand, accumulator, a, b, c, d;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    Recorded tile;
    std::istringstream(line) >> operand >> accumulator >> tile.inputs >> a >> b >> c >> d;
    tile.operand = operand == "bf16" ? mma::Operand::bf16 : mma::Operand::f16;
    tile.accumulator = accumulator == "f16" ? mma::Accumulator::f16 : mma::Accumulator::f32;
    const size_t digits = accumulator == "f16" ? 4 : 8;
    tile.a = parse_hex(a, 4), tile.b = parse_hex(b, 4);
    tile.c = parse_hex(c, digits), tile.d = parse_hex(d, digits);
    if (tile.a.size() == 256 && tile.b.size() == 128 && tile.c.size() == 128 &&
        tile.d.size() == 128) {
      tiles.push_back(tile);
    }
  }
  return tiles;
}

int slow_mismatches(const Recorded& tile, uint32_t sm) {
  const mma::Row* row = mma::find_row(sm, tile.operand, tile.accumulator);
  if (row == nullptr) return 128;
  int wrong = 0;
  for (int i = 0; i < 16; i++) {
    for (int j = 0; j < 8; j++) {
      uint16_t a[16], b[16];
      for (int k = 0; k < 16; k++) {
        a[k] = static_cast<uint16_t>(tile.a[i * 16 + k]);
        b[k] = static_cast<uint16_t>(tile.b[j * 16 + k]);
      }
      wrong += mma::dot(*row, a, b, 16, tile.c[i * 8 + j]) != tile.d[i * 8 + j];
    }
  }
  return wrong;
}

int fast_mismatches(const Recorded& recorded, uint32_t sm, mma::Isa isa) {
  const bool half = recorded.accumulator == mma::Accumulator::f16;
  mma::Tile tile;
  const auto pair_at = [](const std::vector<uint32_t>& from, int i) {
    return from[static_cast<size_t>(i)] | from[static_cast<size_t>(i) + 1] << 16;
  };
  const auto wide = [half](uint32_t bits) {
    return half ? mma::f32_from_f16(static_cast<uint16_t>(bits)) : bits;
  };
  for (int i = 0; i < 16; i++) {
    for (int p = 0; p < 8; p++) tile.a[p][i] = pair_at(recorded.a, i * 16 + 2 * p);
  }
  for (int j = 0; j < 8; j++) {
    for (int p = 0; p < 8; p++) tile.b[j][p] = pair_at(recorded.b, j * 16 + 2 * p);
    for (int i = 0; i < 16; i++) {
      const uint32_t c = wide(recorded.c[i * 8 + j]);
      std::memcpy(&tile.c[j][i], &c, 4);
    }
  }
  mma::tile_function(sm, recorded.operand, recorded.accumulator, isa)(tile);
  int wrong = 0;
  for (int i = 0; i < 16; i++) {
    for (int j = 0; j < 8; j++) {
      const uint32_t d = wide(recorded.d[i * 8 + j]);
      wrong += std::memcmp(&tile.d[j][i], &d, 4) != 0;
    }
  }
  return wrong;
}

}  // namespace

int main() {
  const std::vector<Recorded> tiles = read_vectors(MMA_VECTORS "/mma-sm_90.txt");
  check::claim(tiles.size() > 100, "the recording of sm_90 is there", "%zu tiles", tiles.size());
  int slow = 0, other = 0, fast = 0;
  for (const Recorded& tile : tiles) {
    slow += slow_mismatches(tile, 90);
    other += slow_mismatches(tile, 80);
    for (int isa = 0; isa <= static_cast<int>(mma::best_isa()); isa++) {
      fast += fast_mismatches(tile, 90, static_cast<mma::Isa>(isa));
    }
  }
  check::claim(slow == 0, "the slow model gives every recorded bit", "%d outputs differ", slow);
  check::claim(fast == 0, "so does the fast tile on every instruction set", "%d differ", fast);
  check::claim(other > 1000, "the model of sm_80 is told apart", "only %d differ", other);
  return check::finish();
}
