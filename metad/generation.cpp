// See generation.hpp.
#include "metad/generation.hpp"

#include <algorithm>
#include <filesystem>

#include "metad/catalog_store.hpp"
#include "metad/in_sync.hpp"

namespace dmq {
namespace {

constexpr std::uint32_t kEpochLeap = 1U << 20;
constexpr std::uint64_t kVersionLeap = std::uint64_t{1} << 32;
constexpr std::uint64_t kQueueLeap = 1U << 20;

}  // namespace

void raise_generation(CatalogImage& image, TimeMs wall) {
  CatalogCounters& counters = image.counters;
  ++counters.generation;
  counters.last_queue.value += kQueueLeap;
  counters.last_session.value = std::max(counters.last_session.value, static_cast<std::uint64_t>(wall.value));
  for (CatalogChange& record : image.records) {
    if (auto* worker = std::get_if<WorkerInfo>(&record)) worker->alive = false;
    auto* partition = std::get_if<PartitionInfo>(&record);
    if (partition == nullptr) continue;
    set_in_sync(*partition, {});
    set_leader(*partition, "", SessionId{});
    partition->epoch.value += kEpochLeap;
    partition->version.value += kVersionLeap;
  }
  counters.version.value += image.records.size();
}

Result<std::uint64_t> raise_generation(const std::string& data_dir, TimeMs wall) {
  if (!std::filesystem::exists(data_dir + "/data.mdb")) {
    return fail(Errc::kInvalidArgument, "there is no catalog in " + data_dir);
  }
  auto store = CatalogStore::open(data_dir, std::nullopt);
  if (!store) return tl::unexpected<Error>(store.error());
  auto image = (*store)->load();
  if (!image) return tl::unexpected<Error>(image.error());
  raise_generation(*image, wall);
  if (auto written = (*store)->commit(image->counters, image->records); !written) {
    return tl::unexpected<Error>(written.error());
  }
  return image->counters.generation;
}

}  // namespace dmq
