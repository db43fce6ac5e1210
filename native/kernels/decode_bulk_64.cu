// decode_bulk_64.cu - the decode kernels for head size 64 with BulkRing:
// bulk copies, for sm_90 and later; CMakeLists.txt builds it for sm_90a only.
#include "decode_kernel.h"

template kvproof::LaunchDecode kvproof::launch_decode_bits<64, kvproof::BulkRing>;
