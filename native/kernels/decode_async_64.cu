// decode_async_64.cu - the decode kernels for head size 64 with AsyncRing:
// cp.async, for sm_80 and sm_89; as PTX of sm_80 any later GPU runs it too.
#include "decode_kernel.h"

namespace kvproof {

dev::Status launch_decode_async_64(const DecodeArguments& args, uint32_t bits, void* stream) {
  return launch_decode_bits<64, AsyncRing>(args, bits, stream);
}

}  // namespace kvproof
