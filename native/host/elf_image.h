// elf_image.h - is this file a shared library that can be mapped safely?
//
// dlopen() maps the segments that the program headers promise without comparing them with the
// length of the file: a library cut short (an interrupted build or copy) then ends the process with
// SIGBUS on the first touch. This check reads the headers first. It proves nothing about the code
// inside. Layout: System V ABI, "Object Files", 64-bit class.
#ifndef KVPROOF_HOST_ELF_IMAGE_H
#define KVPROOF_HOST_ELF_IMAGE_H

#include <string>

namespace kvproof {

// Empty if the file at `path` is a complete 64-bit shared object, else why it is not, as a clause
// that follows the path ("is a folder, a shared library is required").
std::string shared_library_error(const std::string& path);

}  // namespace kvproof

#endif
