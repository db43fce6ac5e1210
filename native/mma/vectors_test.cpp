// vectors_test.cpp - the tensor-core models against what a GPU answered
// (corpus/vectors/mma-sm_NN.txt, format in record_vectors.cu): the slow model on every instruction,
// the fast tile of every instruction set on f16 operands with f32 accumulators.
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "check.h"
#include "fused_sum.h"
#include "tile_f16.h"

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
  mma::TileF16 tile;
  for (int i = 0; i < 16; i++) {
    for (int k = 0; k < 16; k++) tile.a[k][i] = static_cast<uint16_t>(recorded.a[i * 16 + k]);
  }
  for (int j = 0; j < 8; j++) {
    for (int k = 0; k < 16; k++) tile.b[j][k] = static_cast<uint16_t>(recorded.b[j * 16 + k]);
    for (int i = 0; i < 16; i++) std::memcpy(&tile.c[j][i], &recorded.c[i * 8 + j], 4);
  }
  mma::tile_function(sm, isa)(tile);
  int wrong = 0;
  for (int i = 0; i < 16; i++) {
    for (int j = 0; j < 8; j++) wrong += std::memcmp(&tile.d[j][i], &recorded.d[i * 8 + j], 4) != 0;
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
    if (tile.operand != mma::Operand::f16 || tile.accumulator != mma::Accumulator::f32) continue;
    for (int isa = 0; isa <= static_cast<int>(mma::best_isa()); isa++) {
      fast += fast_mismatches(tile, 90, static_cast<mma::Isa>(isa));
    }
  }
  check::claim(slow == 0, "the slow model gives every recorded bit", "%d outputs differ", slow);
  check::claim(fast == 0, "so does the fast tile on every instruction set", "%d differ", fast);
  check::claim(other > 1000, "the model of sm_80 is told apart", "only %d differ", other);
  return check::finish();
}
