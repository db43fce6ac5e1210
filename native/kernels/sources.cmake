# Sources of native/kernels, relative to the native folder. Read by the top-level CMakeLists.txt.
# Kernel sources: compiled by the host compiler for the emulator and by nvcc for GPUs, unchanged.
set(KVPROOF_KERNEL_SOURCES
  kernels/quantize_pack.cu
  kernels/quantize_plain.cu
  kernels/decode.cu
  kernels/decode_async_64.cu
  kernels/decode_async_128.cu
  kernels/decode_async_256.cu
  kernels/decode_bulk_64.cu
  kernels/decode_bulk_128.cu
  kernels/decode_bulk_256.cu
  kernels/decode_plain.cu
  kernels/combine.cu)
# The kernel table: host code, the same on both sides.
set(KVPROOF_TABLE_SOURCES kernels/kernel_table.cpp kernels/problem_checks.cpp)
# Memory of a CUDA device.
set(KVPROOF_CUDA_SOURCES kernels/cuda_device.cu)
# Executables, linked with the kernels and the emulator.
set(KVPROOF_KERNELS_TESTS kernels/kernels_test.cpp kernels/decode_test.cpp kernels/pack_test.cpp
  kernels/problem_checks_test.cpp)
# The same on the checked emulator.
set(KVPROOF_KERNELS_CHECKED_TESTS kernels/schedules_test.cpp)
