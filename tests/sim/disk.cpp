// What Log::write does, on maps.
#include "tests/sim/disk.hpp"

namespace dmq::sim {

Result<RecordView> Disk::read(RecordPlace place) {
  const std::string* bytes = find(place);
  if (bytes == nullptr) return fail(Errc::kInternal, "absent");
  return read_record(*bytes, place);
}

Result<void> Disk::scan(RecordPlace from, const Visit& visit) {
  for (auto at = records.lower_bound(from); at != records.end() && at->first.partition == from.partition; ++at) {
    const auto record = read_record(at->second, at->first);
    if (!visit(at->first.lsn, at->second, record)) break;
  }
  return {};
}

const std::string* Disk::find(RecordPlace place) const {
  const auto found = records.find(place);
  return found == records.end() ? nullptr : &found->second;
}

void Disk::commit(const WriteBatch& effects, const WriteBatch& writes) {
  write(effects);
  write(writes);
}

void Disk::write(const WriteBatch& batch) {
  for (const RecordPlace from : batch.truncations) {
    const RecordPlace behind{{static_cast<std::uint16_t>(from.partition.value + 1)}, {}};
    records.erase(records.lower_bound(from), records.lower_bound(behind));
    returns.erase(returns.lower_bound(from), returns.lower_bound(behind));
  }
  for (const RecordPlace place : batch.removals) records.erase(place);
  for (const PutRecord& put : batch.records) {
    std::string record(put.encoded);
    if (record.empty()) {
      record.resize(record_bytes(put.record.header));
      write_record(record.data(), put.place, put.record);
    }
    records[put.place] = std::move(record);
  }
  for (const ProducerKey& key : batch.forgotten_producers) producers.erase(key);
  for (const auto& [id, state] : batch.partitions) partitions[id] = state;
  for (const auto& [id, table] : batch.epochs) epochs[id] = table;
  for (const auto& [place, state] : batch.returns) {
    if (state.is_empty()) {
      returns.erase(place);
    } else {
      returns[place] = state;
    }
  }
  for (const auto& [key, state] : batch.producers) producers[key] = state;
  for (const auto& [place, below] : batch.dropped) {
    if (below.value == 0) {
      dropped.erase(place);
    } else {
      dropped[place] = below;
    }
  }
}

void Disk::flip(RecordPlace place, std::size_t bit) {
  std::string& bytes = records.at(place);
  bytes[bit / 8 % bytes.size()] ^= static_cast<char>(1 << bit % 8);
}

void Disk::wipe() {
  const std::uint64_t next = store_id + 1;
  *this = Disk();
  store_id = next;
}

}  // namespace dmq::sim
