// Which stores there are, copied one after the other as of the same moment.
#include "broker/backup.hpp"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include "metad/catalog_store.hpp"
#include "metad/generation.hpp"
#include "runtime/staged_directory.hpp"
#include "storage/commit_mark.hpp"
#include "storage/log_snapshot.hpp"

namespace dmq {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFormat = "dmq backup 1 of ";  // the mark's line; the kind follows

// Whose data it is. Its stores lie in these directories below; "": in the directory itself.
struct Layout {
  std::string kind;  // "broker", "worker", "metad"
  std::string catalog;
  bool has_catalog = false;
  std::vector<std::string> stores;
};

template <class T>
tl::unexpected<Error> pass_on(const Result<T>& failed) {
  return tl::unexpected<Error>(failed.error());
}

tl::unexpected<Error> failure(const std::string& what, const std::error_code& fault) {
  const bool full = fault == std::errc::no_space_on_device || fault.value() == EDQUOT;
  return fail(full ? Errc::kInsufficientStorage : Errc::kUnavailable, what + ": " + fault.message());
}

std::string below(const std::string& directory, const std::string& part) {
  return part.empty() ? directory : directory + "/" + part;
}

Result<Layout> layout_of(const std::string& directory) {
  std::error_code fault;
  if (!fs::is_directory(directory, fault)) {
    if (!fault) fault = std::make_error_code(std::errc::not_a_directory);
    return fail(Errc::kInvalidArgument, "cannot read the data directory " + directory + ": " + fault.message());
  }
  const auto is_there = [&](const std::string& file) { return fs::exists(directory + "/" + file, fault); };
  if (is_there(kBackupMark)) return fail(Errc::kInvalidArgument, directory + " is a backup; copy it as it is");
  if (is_there("metad/data.mdb")) {
    Layout broker{"broker", "metad", true, {}};
    for (int i = 0; is_there("storage-" + std::to_string(i)); ++i)
      broker.stores.push_back("storage-" + std::to_string(i));
    return broker;
  }
  if (is_there("data.mdb")) {
    if (is_there(CommitMark::kFile)) return Layout{"worker", {}, false, {""}};
    return Layout{"metad", "", true, {}};
  }
  if (fault) return failure("cannot read the data directory " + directory, fault);
  return fail(Errc::kInvalidArgument,
              directory + " is no data directory: neither of a broker nor of a worker or metad");
}

Result<void> make_directory(const std::string& path) {
  std::error_code fault;
  fs::create_directories(path, fault);
  if (fault) return failure("cannot make " + path, fault);
  return {};
}

// A data directory's other files are of the process that uses it.
Result<void> keep_store_only(const std::string& directory) {
  std::error_code fault;
  for (const auto& entry : fs::directory_iterator(directory, fault)) {
    if (entry.path().filename() != "data.mdb" && entry.is_regular_file()) fs::remove(entry.path(), fault);
    if (fault) break;
  }
  if (fault) return failure("cannot tidy up " + directory, fault);
  return {};
}

Result<void> write_catalog(const CatalogImage& image, const std::string& directory) {
  if (auto made = make_directory(directory); !made) return made;
  {
    const auto store = CatalogStore::open(directory, image);
    if (!store) return pass_on(store);
  }
  return keep_store_only(directory);
}

Result<void> write_mark(const std::string& directory, const std::string& kind) {
  std::ofstream mark(directory + "/" + kBackupMark);
  mark << kFormat << kind << "\n";
  mark.close();
  if (!mark) return fail(Errc::kInsufficientStorage, "cannot write in " + directory);
  return {};
}

Result<std::string> read_mark(const std::string& directory) {
  std::ifstream mark(directory + "/" + kBackupMark);
  std::string line;
  std::getline(mark, line);
  if (line.starts_with(kFormat)) return line.substr(kFormat.size());
  return fail(Errc::kInvalidArgument, directory + " is no backup that dmq backup made");
}

// All stores as of the moment at which the last of them is seen: none commits before all are.
struct Moment {
  std::vector<std::unique_ptr<LogSnapshot>> stores;
  CatalogImage catalog;
};

Result<Moment> take_moment(const std::string& data_dir, const Layout& layout) {
  Moment moment;
  for (const std::string& store : layout.stores) {
    auto snapshot = LogSnapshot::take(below(data_dir, store));
    if (!snapshot) return pass_on(snapshot);
    moment.stores.push_back(std::move(*snapshot));
  }
  if (layout.has_catalog) {
    auto catalog = CatalogStore::look(below(data_dir, layout.catalog));
    if (!catalog) return pass_on(catalog);
    moment.catalog = std::move(*catalog);
  }
  for (const auto& store : moment.stores) store->release();
  return moment;
}

Result<LogCopied> copy_stores(const Moment& moment, const Layout& layout, const std::string& to) {
  LogCopied all;
  for (std::size_t i = 0; i < layout.stores.size(); ++i) {
    const std::string directory = below(to, layout.stores[i]);
    if (auto made = make_directory(directory); !made) return pass_on(made);
    const auto copied = moment.stores[i]->copy_to(directory);
    if (!copied) return copied;
    all.records += copied->records;
    all.bytes += copied->bytes;
  }
  return all;
}

Result<void> copy_files(const std::string& from, const std::string& to) {
  std::error_code fault;
  for (fs::recursive_directory_iterator entry(from, fault), end; !fault && entry != end; entry.increment(fault)) {
    const std::string target = to + "/" + fs::relative(entry->path(), from, fault).string();
    if (fault || entry->path().filename() == kBackupMark) continue;
    if (entry->is_directory()) {
      fs::create_directory(target, fault);
    } else {
      fs::copy_file(entry->path(), target, fault);
    }
    if (fault) return failure("cannot copy " + entry->path().string(), fault);
  }
  if (fault) return failure("cannot read " + from, fault);
  return {};
}

std::string advice_for(const std::string& kind, const std::string& data_dir) {
  if (kind == "worker") return "start it with: dmq-storage --data " + data_dir + " --restored";
  return "start it with: dmq-" + kind + " --data " + data_dir;
}

}  // namespace

Result<std::string> back_up(const std::string& data_dir, const std::string& to) {
  const auto layout = layout_of(data_dir);
  if (!layout) return pass_on(layout);
  auto staged = StagedDirectory::make(to);
  if (!staged) return pass_on(staged);
  const auto moment = take_moment(data_dir, *layout);
  if (!moment) return pass_on(moment);
  const auto copied = copy_stores(*moment, *layout, staged->path());
  if (!copied) return pass_on(copied);
  Result<void> done;
  if (layout->has_catalog) done = write_catalog(moment->catalog, below(staged->path(), layout->catalog));
  if (done) done = write_mark(staged->path(), layout->kind);
  if (done) done = staged->publish();
  if (!done) return pass_on(done);
  return "the " + layout->kind + "'s data is in " + to + ": " + std::to_string(copied->records) + " records, " +
         std::to_string(copied->bytes) + " bytes";
}

Result<std::string> restore(const std::string& backup, const std::string& data_dir, TimeMs wall) {
  const auto kind = read_mark(backup);
  if (!kind) return kind;
  auto staged = StagedDirectory::make(data_dir);
  if (!staged) return pass_on(staged);
  if (auto copied = copy_files(backup, staged->path()); !copied) return pass_on(copied);
  if (*kind != "worker") {
    const auto raised = raise_generation(below(staged->path(), *kind == "broker" ? "metad" : ""), wall);
    if (!raised) return pass_on(raised);
  }
  if (auto published = staged->publish(); !published) return pass_on(published);
  return backup + " is restored to " + data_dir + "; " + advice_for(*kind, data_dir);
}

}  // namespace dmq
