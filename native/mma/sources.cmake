# Sources of native/mma, relative to the native folder. Read by the top-level CMakeLists.txt.
set(KVPROOF_MMA_SOURCES
  mma/architecture.cpp
  mma/convert.cpp
  mma/fused_sum.cpp
  mma/special.cpp
  mma/tile.cpp
  mma/tile_slow.cpp)
# The analyses that are off: see tile_slow.cpp. No -march: the vector variants carry their own target
# attribute and are chosen at run time.
set(KVPROOF_MMA_FLAGS
  -O2 -ffp-contract=off -Wno-psabi -fno-ipa-modref -fno-ipa-pure-const)
# Each test is one executable, linked with the sources above.
set(KVPROOF_MMA_TESTS
  mma/tile_test.cpp
  mma/convert_test.cpp
  mma/special_test.cpp
  mma/vectors_test.cpp)
# Recorded hardware results, read by vectors_test at run time.
set_source_files_properties("${CMAKE_CURRENT_SOURCE_DIR}/native/mma/vectors_test.cpp" PROPERTIES
  COMPILE_DEFINITIONS "MMA_VECTORS=\"${CMAKE_CURRENT_SOURCE_DIR}/corpus/vectors\"")
