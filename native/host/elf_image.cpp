// elf_image.cpp - looks into a file before the loader does, so that what is no shared library of
// this machine is refused with a sentence and runs no code.
#include "elf_image.h"

#include <elf.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

namespace kvproof {
namespace {

constexpr char kRequired[] = ", a 64-bit ELF shared library is required";

// A program header table longer than this is not one that a linker wrote (typical: 7 to 12
// entries).
constexpr uint16_t kProgramHeadersMax = 512;

}  // namespace

std::string shared_library_error(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return std::string("cannot be read: ") + std::strerror(errno);
  // A named pipe would block dlopen() for ever, a device may do anything.
  if (!S_ISREG(info.st_mode)) return std::string("is not a regular file") + kRequired;
  const uint64_t file_bytes = static_cast<uint64_t>(info.st_size);

  std::ifstream file(path, std::ios::binary);
  if (!file) return std::string("cannot be read: ") + std::strerror(errno);
  Elf64_Ehdr header{};
  file.read(reinterpret_cast<char*>(&header), sizeof(header));
  if (!file || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64) {
    return std::string("is not an ELF file") + kRequired;
  }
  if (header.e_type != ET_DYN) return std::string("is not a shared library") + kRequired;
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 ||
      header.e_phnum > kProgramHeadersMax) {
    return std::string("has no readable program headers") + kRequired;
  }

  std::vector<Elf64_Phdr> segments(header.e_phnum);
  file.seekg(static_cast<std::streamoff>(header.e_phoff));
  file.read(reinterpret_cast<char*>(segments.data()),
            static_cast<std::streamsize>(segments.size() * sizeof(Elf64_Phdr)));
  if (!file) return std::string("is cut short inside its program headers") + kRequired;
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type != PT_LOAD && segment.p_type != PT_DYNAMIC) continue;
    if (segment.p_offset > file_bytes || segment.p_filesz > file_bytes - segment.p_offset) {
      return "is cut short: a segment ends past byte " + std::to_string(file_bytes) + kRequired;
    }
  }
  return "";
}

}  // namespace kvproof
