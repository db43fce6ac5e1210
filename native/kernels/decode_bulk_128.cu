// decode_bulk_128.cu - the decode kernels for head size 128 with BulkRing:
// bulk copies, for sm_90 and later; CMakeLists.txt builds it for sm_90a only.
#include "decode_kernel.h"

template kvproof::LaunchDecode kvproof::launch_decode_bits<128, kvproof::BulkRing>;
