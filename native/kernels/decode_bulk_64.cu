// decode_bulk_64.cu - the decode kernels for head size 64 with BulkRing:
// bulk copies, for sm_90 and later; CMakeLists.txt builds it for sm_90a only.
#include "decode_kernel.h"

namespace kvproof {

dev::Status launch_decode_bulk_64(const DecodeArguments& args, uint32_t bits, void* stream) {
  return launch_decode_bits<64, BulkRing>(args, bits, stream);
}

}  // namespace kvproof
