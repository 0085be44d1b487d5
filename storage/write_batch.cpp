// Joining batches in the order in which they were made.
#include "storage/write_batch.hpp"

#include <utility>

namespace dmq {
namespace {

template <class Item>
void put_before(std::vector<Item>& newer, std::vector<Item>&& older) {
  older.insert(older.end(), std::make_move_iterator(newer.begin()), std::make_move_iterator(newer.end()));
  newer = std::move(older);
}

}  // namespace

void WriteBatch::prepend(WriteBatch&& older) {
  for (const ProducerKey& key : forgotten_producers) older.producers.erase(key);
  for (const RecordPlace from : truncations) {
    const RecordPlace behind{{static_cast<std::uint16_t>(from.partition.value + 1)}, {}};
    older.returns.erase(older.returns.lower_bound(from), older.returns.lower_bound(behind));
  }
  put_before(truncations, std::move(older.truncations));
  put_before(removals, std::move(older.removals));
  put_before(records, std::move(older.records));
  put_before(forgotten_producers, std::move(older.forgotten_producers));
  returns.merge(older.returns);
  partitions.merge(older.partitions);
  epochs.merge(older.epochs);
  producers.merge(older.producers);
  dropped.merge(older.dropped);
  recounts.merge(older.recounts);
}

}  // namespace dmq
