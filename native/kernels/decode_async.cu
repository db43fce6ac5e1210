// decode_async.cu - the decode kernel with AsyncRing: cp.async groups, for sm_80 and sm_89; as PTX
// of sm_80 any later GPU runs it too.
#include "decode_kernel.h"

namespace kvproof {

dev::Status launch_decode_async(const DecodeArguments& args, uint32_t bits, uint32_t group,
                                void* stream) {
  return with_record(bits, group, [&](auto record) {
    return launch_decode_as<decltype(record), AsyncRing>(args, stream);
  });
}

}  // namespace kvproof
