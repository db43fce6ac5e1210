# The sources of kvproof.node: the addon that loads kernel libraries and runs them between redzones.
# The build that includes this file adds ${CMAKE_JS_SRC}, ${CMAKE_JS_INC}, ${CMAKE_JS_LIB},
# ${CMAKE_DL_LIBS} and the definitions NAPI_VERSION=8 and NAPI_CPP_EXCEPTIONS. Nothing needs CUDA.
set(KVPROOF_HOST_SOURCES
    ${CMAKE_CURRENT_LIST_DIR}/addon.cpp
    ${CMAKE_CURRENT_LIST_DIR}/arguments.cpp
    ${CMAKE_CURRENT_LIST_DIR}/arrangement.cpp
    ${CMAKE_CURRENT_LIST_DIR}/bench.cpp
    ${CMAKE_CURRENT_LIST_DIR}/buffers.cpp
    ${CMAKE_CURRENT_LIST_DIR}/elf_image.cpp
    ${CMAKE_CURRENT_LIST_DIR}/library.cpp
    ${CMAKE_CURRENT_LIST_DIR}/refusal.cpp
    ${CMAKE_CURRENT_LIST_DIR}/refusal_text.cpp
    ${CMAKE_CURRENT_LIST_DIR}/run.cpp
    ${CMAKE_CURRENT_LIST_DIR}/twin.cpp)
