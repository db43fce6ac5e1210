# KVPROOF_PORTABLE: glibc 2.31 is enough for what is built. Included by the top-level CMakeLists.txt.
#
# glibc 2.34 merged libdl, libpthread and librt into libc.so.6 and gave their symbols that version. A
# library linked against stand-ins that define them as they were (GLIBC_2.2.5 in libpthread.so.0, and
# so on) runs on both: newer systems keep empty libraries of the old names, and the old versions.
enable_language(C)
set(PORTABLE "${CMAKE_SOURCE_DIR}/native/portable")
set(STANDINS "${CMAKE_BINARY_DIR}/standins")
set(DL_2_2_5 dlopen dlsym dlclose dlerror dladdr dlvsym)
set(DL_2_3_4 dlmopen)
set(RT_2_2_5 shm_open shm_unlink)
set(PTHREAD_2_2_5
  pthread_create pthread_join pthread_detach pthread_kill pthread_once
  pthread_key_create __pthread_key_create pthread_key_delete pthread_getspecific pthread_setspecific
  pthread_mutex_trylock pthread_mutexattr_init pthread_mutexattr_destroy
  pthread_mutexattr_settype pthread_mutexattr_setpshared pthread_condattr_setpshared
  pthread_rwlock_init pthread_rwlock_destroy pthread_rwlock_rdlock pthread_rwlock_wrlock
  pthread_rwlock_tryrdlock pthread_rwlock_trywrlock pthread_rwlock_timedrdlock
  pthread_rwlock_timedwrlock pthread_rwlock_unlock pthread_rwlockattr_init
  pthread_rwlockattr_destroy pthread_rwlockattr_setpshared pthread_spin_init pthread_spin_destroy
  pthread_spin_lock pthread_spin_trylock pthread_spin_unlock sem_init sem_destroy sem_post sem_wait
  sem_trywait sem_timedwait)

# One stand-in: a library of the old name whose functions do nothing, under their old versions.
function(standin name soname)
  set(source "${STANDINS}/${name}.c")
  set(map "${STANDINS}/${name}.map")
  file(WRITE "${source}" "")
  file(WRITE "${map}" "")
  set(before "")
  foreach(version 2_2_5 2_3_4)
    if(${name}_${version})
      string(REPLACE "_" "." dotted ${version})
      file(APPEND "${map}" "GLIBC_${dotted} {\n  global:\n")
      foreach(symbol ${${name}_${version}})
        file(APPEND "${source}" "void ${symbol}(void) {}\n")
        file(APPEND "${map}" "    ${symbol};\n")
      endforeach()
      file(APPEND "${map}" "}${before};\n")
      set(before " GLIBC_${dotted}")
    endif()
  endforeach()
  string(TOLOWER ${name} lower)
  add_library(standin_${lower} SHARED "${source}")
  set_target_properties(standin_${lower} PROPERTIES NO_SONAME ON C_VISIBILITY_PRESET default
    LIBRARY_OUTPUT_DIRECTORY "${STANDINS}" OUTPUT_NAME ${lower}_standin)
  target_compile_options(standin_${lower} PRIVATE -fno-builtin -w)
  target_link_options(standin_${lower} PRIVATE -nostdlib "-Wl,-soname,${soname}"
    "-Wl,--version-script,${map}")
endfunction()
standin(DL libdl.so.2)
standin(PTHREAD libpthread.so.0)
standin(RT librt.so.1)

add_library(kvproof_glibc OBJECT "${PORTABLE}/glibc_2_31.c")

# Makes a library portable. Called for everything that is shipped.
function(portable target)
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:kvproof_glibc>)
  target_link_libraries(${target} PRIVATE standin_dl standin_pthread standin_rt)
  set_target_properties(${target} PROPERTIES SKIP_BUILD_RPATH ON)
  target_link_options(${target} PRIVATE
    -static-libstdc++ -Wl,--exclude-libs,ALL -Wl,--no-as-needed)
endfunction()
