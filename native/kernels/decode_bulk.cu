// decode_bulk.cu - the decode kernel with BulkRing: cp.async.bulk and mbarriers, for sm_90 and
// later. CMakeLists.txt builds it for sm_90a only.
#include "decode_kernel.h"

namespace kvproof {

dev::Status launch_decode_bulk(const DecodeArguments& args, uint32_t bits, uint32_t group,
                               void* stream) {
  return with_record(bits, group, [&](auto record) {
    return launch_decode_as<decltype(record), BulkRing>(args, stream);
  });
}

}  // namespace kvproof
