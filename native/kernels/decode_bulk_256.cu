// decode_bulk_256.cu - the decode kernels for head size 256 with BulkRing:
// bulk copies, for sm_90 and later; CMakeLists.txt builds it for sm_90a only.
#include "decode_kernel.h"

template kvproof::LaunchDecode kvproof::launch_decode_bits<256, kvproof::BulkRing>;
