# Sources of native/simt, relative to the native folder. Read by the top-level CMakeLists.txt.
#
# libkvproof_simt.a:         KVPROOF_SIMT_SOURCES                 with -DSIMT_CHECKED=0
# libkvproof_simt_checked.a: those and KVPROOF_SIMT_CHECKED_SOURCES with -DSIMT_CHECKED=1
# Both also hold the objects of native/mma (../mma/sources.cmake).
set(KVPROOF_SIMT_SOURCES
  simt/arena.cpp
  simt/atomic.cpp
  simt/barrier.cpp
  simt/block.cpp
  simt/collective.cpp
  simt/copy.cpp
  simt/emulator.cpp
  simt/fault.cpp
  simt/fiber.cpp
  simt/launch.cpp
  simt/matrix.cpp
  simt/mbarrier.cpp
  simt/platform.cpp
  simt/report.cpp
  simt/schedule.cpp
  simt/special.cpp
  simt/symbol.cpp)
set(KVPROOF_SIMT_CHECKED_SOURCES
  simt/clock.cpp
  simt/shadow.cpp
  simt/shadow_copy.cpp
  simt/shadow_renew.cpp
  simt/shadow_report.cpp
  simt/tsan_abi.cpp)
# Tests: one executable each, linked with the plain or the checked emulator. The kernels of a
# checked test are in its own file.
set(KVPROOF_SIMT_TESTS
  simt/arena_test.cpp
  simt/arithmetic_test.cpp
  simt/collective_test.cpp
  simt/hardware_test.cpp
  simt/schedule_test.cpp)
set(KVPROOF_SIMT_CHECKED_TESTS
  simt/memory_test.cpp
  simt/pipeline_test.cpp
  simt/protocol_test.cpp
  simt/race_test.cpp)
# -march=x86-64-v3 (2013 on) gives FMA and f16 conversions; emulator.cpp refuses an older processor
# with a status. The analyses that are off: see ../mma/tile_slow.cpp.
set(KVPROOF_SIMT_FLAGS
  -O2 -g -march=x86-64-v3 -ffp-contract=off -Wno-psabi -fno-ipa-modref -fno-ipa-pure-const)

# Translation units that hold kernels, emulated: plain, and what the checked build adds. -O1 takes 60 %
# of the time of -O2 and they run as fast (GCC 12, 2026-11); -O0 runs three times slower. Bits are the
# same at any level: nothing is contracted.
set(KVPROOF_SIMT_KERNEL_FLAGS
  -O1 -g1 -march=x86-64-v3 -ffp-contract=off -fno-strict-aliasing -Wno-psabi
  -fvisibility=hidden -fno-gnu-unique)
# The compiler calls the __tsan_* functions of tsan_abi.cpp for every access (libtsan is not linked)
# and the handlers of alignment and array bounds of the same file; for memcpy and its like see device_checked.h. Neither
# merged functions nor tail calls: both would give an access the line of another one.
set(KVPROOF_SIMT_KERNEL_CHECKED_FLAGS
  -fsanitize=thread --param=tsan-instrument-func-entry-exit=0 -fsanitize=alignment,bounds
  -fno-ipa-icf -fno-optimize-sibling-calls
  -fno-builtin-memcpy -fno-builtin-memset -fno-builtin-memmove -fno-builtin-memcmp)
# Compiled as kernels are: with the conversions of the processor. arithmetic_test.cpp covers the others.
set_source_files_properties("${CMAKE_CURRENT_SOURCE_DIR}/native/simt/hardware_test.cpp" PROPERTIES
  COMPILE_OPTIONS "${KVPROOF_SIMT_KERNEL_FLAGS}")
