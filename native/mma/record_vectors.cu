// record_vectors.cu - asks a GPU's tensor cores for the results that judge the models of them.
//
// A tool, not part of any build: it writes corpus/vectors/mma-sm_NN.txt, which mma/vectors_test.cpp
// and reference/mma.vectors.test.ts then hold against the two models. Each tile is one mma.sync
// m16n8k16 on inputs of one class; the classes are those in which wrong models differ (alignment,
// truncation, subnormals, zeros beside large numbers, overflow, underflow, ties of the f16 output,
// signed zeros).
//
//   nvcc -std=c++20 -gencode arch=compute_80,code=compute_80 -gencode arch=compute_90a,code=sm_90a
//        native/mma/record_vectors.cu -o record_vectors
//   ./record_vectors DATE COMMIT > corpus/vectors/mma-sm_90.txt
//
// Lines: `# key: value`, then `OPERANDS ACCUMULATOR CLASS A B C D` with A (16 rows x 16 k), B (8
// columns x 16 k), C and D (16 rows x 8 columns) as hexadecimal digits, 4 for each 16-bit and 8 for
// each f32.
#include <cuda_runtime.h>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace {

constexpr int tiles_per_class = 6;

enum Kind { f16_f32, bf16_f32, f16_f16, kinds };
const char* const kind_names[kinds] = {"f16 f32", "bf16 f32", "f16 f16"};

enum Class {
  ordinary,
  any_finite,
  any_bits,
  wide_exponents,
  subnormals,
  cancellation,
  c_large,
  c_small,
  powers_and_zeros,
  zero_times_big,
  overflow,
  underflow,
  signed_zeros,
  attention,
  ties,
  classes
};
const char* const class_names[classes] = {
    "ordinary",     "any-finite", "any-bits",     "wide-exponents",   "subnormals",
    "cancellation", "c-large",    "c-small",      "powers-and-zeros", "zero-times-big",
    "overflow",     "underflow",  "signed-zeros", "attention",        "ties"};

struct Tile {
  uint16_t a[16][16];  // (row, k)
  uint16_t b[8][16];   // (column, k)
  uint32_t c[16][8];   // (row, column), f16 in the low half for an f16 accumulator
  uint32_t d[16][8];
};

__device__ uint32_t pair(const uint16_t* p) { return p[0] | static_cast<uint32_t>(p[1]) << 16; }

// One warp for each tile. Fragments as the PTX ISA lays them out for m16n8k16.
__global__ void run_tiles(Tile* tiles, int kind) {
  Tile& t = tiles[blockIdx.x];
  const int g = threadIdx.x >> 2, p = 2 * (threadIdx.x & 3);
  const uint32_t a0 = pair(&t.a[g][p]), a1 = pair(&t.a[g + 8][p]);
  const uint32_t a2 = pair(&t.a[g][p + 8]), a3 = pair(&t.a[g + 8][p + 8]);
  const uint32_t b0 = pair(&t.b[g][p]), b1 = pair(&t.b[g][p + 8]);
  uint32_t c0 = t.c[g][p], c1 = t.c[g][p + 1], c2 = t.c[g + 8][p], c3 = t.c[g + 8][p + 1];
  if (kind == f16_f16) {
    uint32_t low = c0 | c1 << 16, high = c2 | c3 << 16;
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1},{%2,%3,%4,%5},{%6,%7},{%0,%1};"
        : "+r"(low), "+r"(high)
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
    c0 = low & 0xffff, c1 = low >> 16, c2 = high & 0xffff, c3 = high >> 16;
  } else if (kind == bf16_f32) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
        : "+r"(c0), "+r"(c1), "+r"(c2), "+r"(c3)
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
        : "+r"(c0), "+r"(c1), "+r"(c2), "+r"(c3)
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
  t.d[g][p] = c0, t.d[g][p + 1] = c1, t.d[g + 8][p] = c2, t.d[g + 8][p + 1] = c3;
}

uint64_t state = 0x6b7670726f6f66ull;
uint32_t draw() {  // splitmix64
  uint64_t z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return static_cast<uint32_t>((z ^ (z >> 31)) >> 16);
}
uint32_t below(uint32_t n) { return draw() % n; }

// A format's number with a random sign and fraction and an exponent field in [low, high].
struct Format {
  int fraction_bits, exponent_bits;
  uint32_t exponent_max() const { return (1u << exponent_bits) - 2; }
  uint32_t bias() const { return (1u << (exponent_bits - 1)) - 1; }
  uint32_t number(uint32_t low, uint32_t high) const {
    const uint32_t sign = draw() & 1, exponent = low + below(high - low + 1);
    const uint32_t fraction = draw() & ((1u << fraction_bits) - 1);
    return (sign << exponent_bits | exponent) << fraction_bits | fraction;
  }
  uint32_t sign_bit() const { return 1u << (fraction_bits + exponent_bits); }
};
constexpr Format f16{10, 5}, bf16{7, 8}, f32{23, 8};

uint32_t operand(Class cls, const Format& f, int k, bool is_a) {
  const uint32_t one = f.bias(), top = f.exponent_max();
  switch (cls) {
    case any_finite:
      return f.number(0, top);
    case any_bits:
      return draw() & (2 * f.sign_bit() - 1);
    case wide_exponents:
      return f.number(one - 12, one + 12);
    case subnormals:
      return is_a ? f.number(0, 0) : f.number(0, one);
    case cancellation:
      return k % 2 ? f.number(one, one) : f.number(one, one + 1);
    case powers_and_zeros:
      return below(3) ? (f.number(one - 6, one + 6) >> f.fraction_bits) << f.fraction_bits : 0;
    case zero_times_big:
      return (k + is_a) % 2 ? f.number(top, top) : (k % 5 == 0 ? f.number(1, 3) : 0);
    case overflow:
      return f.number(top - 1, top);
    case underflow:
      return f.number(0, one / 2 + 2);
    case signed_zeros:
      return below(2) ? f.sign_bit() : below(2) ? 0 : f.number(0, 1);
    case attention:
      return is_a ? f.number(one - 3, one + 2) : f.number(one - 14, one - 1) & ~f.sign_bit();
    case ties:
      return k < 2      ? (one - (is_a ? 0 : below(13))) << f.fraction_bits
             : below(2) ? f.number(1, 3)
                        : 0;
    default:
      return f.number(one - 3, one + 2);
  }
}

uint32_t accumulator(Class cls, const Format& f) {
  const uint32_t one = f.bias(), top = f.exponent_max();
  switch (cls) {
    case any_finite:
    case overflow:
      return f.number(0, top);
    case any_bits:
      return f.exponent_bits == 5 ? draw() & 0xffff : draw() * 2654435761u;
    case c_large:
      return f.number(one + 8, one + 14);
    case c_small:
      return f.number(one - 13, one - 9);
    case subnormals:
    case underflow:
      return f.number(0, 2);
    case signed_zeros:
    case powers_and_zeros:
      return below(2) ? f.sign_bit() : 0;
    case ties:
      return (one + 1) << f.fraction_bits;
    default:
      return below(4) ? f.number(one - 4, one + 4) : 0;
  }
}

void fill(Tile& t, Kind kind, Class cls) {
  const Format& in = kind == bf16_f32 ? bf16 : f16;
  const Format& out = kind == f16_f16 ? f16 : f32;
  for (auto& row : t.a)
    for (int k = 0; k < 16; k++) row[k] = static_cast<uint16_t>(operand(cls, in, k, true));
  for (auto& col : t.b)
    for (int k = 0; k < 16; k++) col[k] = static_cast<uint16_t>(operand(cls, in, k, false));
  // Neighbouring products cancel but for their last bits.
  if (cls == cancellation) {
    for (auto& row : t.a)
      for (int k = 1; k < 16; k += 2)
        row[k] = static_cast<uint16_t>(row[k - 1] ^ in.sign_bit() ^ (draw() & 1));
    for (auto& col : t.b)
      for (int k = 1; k < 16; k += 2) col[k] = col[k - 1];
  }
  for (auto& row : t.c)
    for (auto& c : row) c = accumulator(cls, out);
}

void print(const Tile& t, Kind kind, Class cls) {
  printf("%s %s ", kind_names[kind], class_names[cls]);
  for (auto& row : t.a)
    for (uint16_t x : row) printf("%04x", x);
  putchar(' ');
  for (auto& col : t.b)
    for (uint16_t x : col) printf("%04x", x);
  const char* format = kind == f16_f16 ? "%04x" : "%08x";
  putchar(' ');
  for (auto& row : t.c)
    for (uint32_t x : row) printf(format, x);
  putchar(' ');
  for (auto& row : t.d)
    for (uint32_t x : row) printf(format, x);
  putchar('\n');
}

bool good(cudaError_t e) {
  if (e != cudaSuccess) fprintf(stderr, "record_vectors: %s\n", cudaGetErrorString(e));
  return e == cudaSuccess;
}

}  // namespace

int main(int argc, char** argv) {
  cudaDeviceProp device;
  int driver = 0;
  if (argc != 3 || !good(cudaGetDeviceProperties(&device, 0)) ||
      !good(cudaDriverGetVersion(&driver))) {
    fprintf(stderr, "usage: record_vectors DATE COMMIT, on a machine with a GPU\n");
    return 2;
  }
  printf(
      "# device: %s, sm_%d%d\n# cuda driver: %d\n# date: %s\n# program: "
      "native/mma/record_vectors.cu at %s\n",
      device.name, device.major, device.minor, driver, argv[1], argv[2]);
  for (int kind = 0; kind < kinds; kind++) {
    std::vector<Tile> tiles(classes * tiles_per_class);
    for (size_t i = 0; i < tiles.size(); i++)
      fill(tiles[i], Kind(kind), Class(i / tiles_per_class));
    Tile* on_device = nullptr;
    const size_t bytes = tiles.size() * sizeof(Tile);
    if (!good(cudaMalloc(&on_device, bytes)) ||
        !good(cudaMemcpy(on_device, tiles.data(), bytes, cudaMemcpyHostToDevice)))
      return 3;
    run_tiles<<<static_cast<unsigned>(tiles.size()), 32>>>(on_device, kind);
    if (!good(cudaMemcpy(tiles.data(), on_device, bytes, cudaMemcpyDeviceToHost))) return 3;
    cudaFree(on_device);
    for (size_t i = 0; i < tiles.size(); i++)
      print(tiles[i], Kind(kind), Class(i / tiles_per_class));
  }
  return 0;
}
