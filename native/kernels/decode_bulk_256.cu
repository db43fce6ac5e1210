// decode_bulk_256.cu - the decode kernels for head size 256 with BulkRing:
// bulk copies, for sm_90 and later; CMakeLists.txt builds it for sm_90a only.
#include "decode_kernel.h"

namespace kvproof {

dev::Status launch_decode_bulk_256(const DecodeArguments& args, uint32_t bits, void* stream) {
  return launch_decode_bits<256, BulkRing>(args, bits, stream);
}

}  // namespace kvproof
