// exported_table.h - the one table of functions that a library of this project exports.
#ifndef KVPROOF_HOST_EXPORTED_TABLE_H
#define KVPROOF_HOST_EXPORTED_TABLE_H

#include <dlfcn.h>

#include <cstdint>
#include <string>

#include "elf_image.h"

namespace kvproof {

// Why there is none, or the table, for as long as the process lives.
template <class Table>
struct ExportedTable {
  std::string error;
  const Table* table = nullptr;
};

// symbol: a function without arguments that returns a Table, which begins with its version and its
// size. Unlike a kernel's table (library.h) it is never one of somebody else.
template <class Table>
ExportedTable<Table> exported_table(const std::string& path, const std::string& symbol,
                                    uint32_t version) {
  const std::string file_error = shared_library_error(path);
  if (!file_error.empty()) return {path + ": " + file_error};
  void* image = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* function = image == nullptr ? nullptr : dlsym(image, symbol.c_str());
  if (function == nullptr) return {path + ": exports no function " + symbol + "()"};
  const Table* table = reinterpret_cast<const Table* (*)(void)>(function)();
  if (table->version != version || table->struct_bytes < sizeof(Table)) {
    return {path + ": version " + std::to_string(table->version) + " of " + symbol +
            "() found, version " + std::to_string(version) + " is required"};
  }
  return {"", table};
}

}  // namespace kvproof

#endif
