// decode_async_64.cu - the decode kernels for head size 64 with AsyncRing:
// cp.async, for sm_80 and sm_89; as PTX of sm_80 any later GPU runs it too.
#include "decode_kernel.h"

template kvproof::LaunchDecode kvproof::launch_decode_bits<64, kvproof::AsyncRing>;
