// special.cpp - the special functions of a kernel, from the tables of native/mma.
#include "../mma/special.h"

#include "runtime.h"

float simt_ex2(float x) { return mma::ex2_approx_ftz(x); }
float simt_rcp(float x) { return mma::rcp_approx_ftz(x); }
