// vectors_test.cpp - the tensor-core models against what GPUs answered: the slow model on every
// instruction, and the fast tile of every instruction set. corpus/vectors/mma-sm_NN.txt has whole
// tiles (format in record_vectors.cu), dot-sm_NN.txt dot products: operands, accumulator, device,
// a, b, c, d, of as many products as the device takes at once. Eight of those become the diagonal
// of a tile.
#include <algorithm>
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
  // The recorded outputs are those at n * step, n < count.
  size_t count = 128, step = 1;
};

std::vector<uint32_t> parse_hex(const std::string& text, size_t digits) {
  std::vector<uint32_t> values;
  for (size_t i = 0; i + digits <= text.size(); i += digits) {
    values.push_back(
        static_cast<uint32_t>(std::strtoul(text.substr(i, digits).c_str(), nullptr, 16)));
  }
  return values;
}

// Output i = 8 row + column of a tile by the slow model.
uint32_t slow_result(const Recorded& tile, uint32_t sm, size_t i) {
  uint16_t a[16], b[16];
  for (size_t k = 0; k < 16; k++) {
    a[k] = static_cast<uint16_t>(tile.a[i / 8 * 16 + k]);
    b[k] = static_cast<uint16_t>(tile.b[i % 8 * 16 + k]);
  }
  return mma::dot(*mma::find_row(sm, tile.operand, tile.accumulator), a, b, 16, tile.c[i]);
}

Recorded read_line(const std::string& line) {
  std::string operand, accumulator, a, b, c, d;
  Recorded tile;
  std::istringstream(line) >> operand >> accumulator >> tile.inputs >> a >> b >> c >> d;
  tile.operand = operand == "bf16" ? mma::Operand::bf16 : mma::Operand::f16;
  tile.accumulator = accumulator == "f16" ? mma::Accumulator::f16 : mma::Accumulator::f32;
  const size_t digits = accumulator == "f16" ? 4 : 8;
  tile.a = parse_hex(a, 4), tile.b = parse_hex(b, 4);
  tile.c = parse_hex(c, digits), tile.d = parse_hex(d, digits);
  return tile;
}

std::vector<Recorded> read_lines(const std::string& path) {
  std::vector<Recorded> all;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!line.empty() && line[0] != '#') all.push_back(read_line(line));
  }
  return all;
}

std::vector<Recorded> read_tiles(const std::string& path) {
  std::vector<Recorded> tiles;
  for (Recorded& tile : read_lines(path)) {
    if (tile.a.size() == 256 && tile.b.size() == 128 && tile.c.size() == 128 &&
        tile.d.size() == 128) {
      tiles.push_back(std::move(tile));
    }
  }
  return tiles;
}

// Dot products of one instruction, eight to a tile, on its diagonal.
std::vector<Recorded> read_dots(const std::string& path) {
  std::vector<Recorded> tiles;
  for (const Recorded& dot : read_lines(path)) {
    if (dot.a.empty() || dot.a.size() > 16 || dot.b.size() != dot.a.size() || dot.c.size() != 1 ||
        dot.d.size() != 1) {
      continue;
    }
    if (tiles.empty() || tiles.back().count == 8 || tiles.back().operand != dot.operand ||
        tiles.back().accumulator != dot.accumulator) {
      const std::vector<uint32_t> none(128, 0);
      tiles.push_back({dot.inputs, dot.operand, dot.accumulator, std::vector<uint32_t>(256, 0),
                       none, none, none, 0, 9});
    }
    Recorded& tile = tiles.back();
    const size_t i = tile.count++;
    std::copy(dot.a.begin(), dot.a.end(), tile.a.begin() + static_cast<ptrdiff_t>(16 * i));
    std::copy(dot.b.begin(), dot.b.end(), tile.b.begin() + static_cast<ptrdiff_t>(16 * i));
    tile.c[9 * i] = dot.c[0], tile.d[9 * i] = dot.d[0];
  }
  return tiles;
}

int slow_mismatches(const Recorded& tile, uint32_t sm) {
  int wrong = 0;
  for (size_t n = 0; n < tile.count; n++) {
    wrong += slow_result(tile, sm, n * tile.step) != tile.d[n * tile.step];
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
  for (size_t n = 0; n < recorded.count; n++) {
    const size_t i = n * recorded.step;
    const uint32_t d = wide(recorded.d[i]);
    wrong += std::memcmp(&tile.d[i % 8][i / 8], &d, 4) != 0;
  }
  return wrong;
}

// `other` is an architecture whose model must be told apart by at least `least` outputs.
void judge(const char* name, const std::vector<Recorded>& tiles, uint32_t sm, uint32_t other,
           int least) {
  char text[120];
  const auto say = [&](const char* what) {
    std::snprintf(text, sizeof text, "%s: %s", name, what);
    return text;
  };
  int slow = 0, told = 0, fast = 0;
  for (const Recorded& tile : tiles) {
    slow += slow_mismatches(tile, sm);
    told += slow_mismatches(tile, other);
    for (int isa = 0; isa <= static_cast<int>(mma::best_isa()); isa++) {
      fast += fast_mismatches(tile, sm, static_cast<mma::Isa>(isa));
    }
  }
  check::claim(tiles.size() > 100, say("the recording is there"), "%zu tiles", tiles.size());
  check::claim(slow == 0, say("the slow model gives every bit"), "%d outputs differ", slow);
  check::claim(fast == 0, say("so does the fast tile on every instruction set"), "%d differ", fast);
  check::claim(told >= least, say("the model of another architecture is told apart"),
               "only %d differ", told);
}

}  // namespace

int main() {
  judge("sm_90", read_tiles(MMA_VECTORS "/mma-sm_90.txt"), 90, 80, 1000);
  judge("sm_80", read_dots(MMA_VECTORS "/dot-sm_80.txt"), 80, 90, 100);
  judge("sm_89", read_dots(MMA_VECTORS "/dot-sm_89.txt"), 89, 90, 100);
  return check::finish();
}
