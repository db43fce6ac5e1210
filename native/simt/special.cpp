// special.cpp - the special functions of a kernel, as native/mma has them.
#include "../mma/special.h"

#include "runtime.h"

float simt_ex2(float x) { return mma::ex2_approx_ftz(x); }
float simt_rcp(float x) { return mma::rcp_approx_ftz(x); }
float simt_lg2(float x) { return mma::lg2_approx_ftz(x); }
