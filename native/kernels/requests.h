// requests.h - the requests of a launch, passed by value with its arguments, and the choice of the
// record type for a problem.
//
// Lengths live in host memory (kvp_problem.tokens). A launch carries up to requests_per_launch of
// them in its parameters, so that no device memory has to be allocated, copied or kept alive for
// them; a larger batch takes several launches on the same stream. Parameters are limited to 4 KiB,
// and the emulator copies them for every thread.
#pragma once
#include "../simt/device.h"
#include "record.h"

namespace kvproof {

constexpr uint32_t requests_per_launch = 32;

struct Request {
  int64_t first_token;  // in k and v of quantize
  uint32_t tokens;
  uint32_t first_page;  // of the cache

  constexpr uint32_t records() const { return tokens / record_tokens; }
  constexpr uint32_t tail() const { return tokens % record_tokens; }  // in the residual window
};

struct RequestTable {
  uint32_t first;  // number of row[0] in the batch
  uint32_t count;
  Request row[requests_per_launch];
};

// Calls launch(table) for one stretch of the batch after another until one fails.
template <class Launch>
dev::Status for_each_request_table(const kvp_problem& problem, const Launch& launch) {
  Request next{0, 0, 0};
  for (uint32_t first = 0; first < problem.requests; first += requests_per_launch) {
    RequestTable table{first, 0, {}};
    for (uint32_t i = first; i < problem.requests && table.count < requests_per_launch; i++) {
      next.tokens = static_cast<uint32_t>(problem.tokens[i]);
      table.row[table.count++] = next;
      next.first_token += next.tokens;
      next.first_page += next.records();
    }
    const dev::Status status = launch(table);
    if (!status.ok()) return status;
  }
  return dev::Status{};
}

// Calls f(Record128<bits, group>{}) with the record of a problem that supports() has accepted.
template <class F>
dev::Status with_record(uint32_t bits, uint32_t group, const F& f) {
  if (bits == 4 && group == 128) return f(Record128<4, 128>{});
  if (bits == 4 && group == 64) return f(Record128<4, 64>{});
  if (bits == 4 && group == 32) return f(Record128<4, 32>{});
  if (bits == 2 && group == 128) return f(Record128<2, 128>{});
  if (bits == 2 && group == 64) return f(Record128<2, 64>{});
  if (bits == 2 && group == 32) return f(Record128<2, 32>{});
  dev::Status unsupported;
  unsupported.code = KVP_UNSUPPORTED;
  return unsupported;
}

// The most records that one request of the table has.
inline uint32_t records_max(const RequestTable& table) {
  uint32_t most = 0;
  for (uint32_t i = 0; i < table.count; i++) {
    most = table.row[i].records() > most ? table.row[i].records() : most;
  }
  return most;
}

}  // namespace kvproof
