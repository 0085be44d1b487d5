// The layout of LMDB 0.9 (mdb.c: MDB_page, MDB_node, MDB_db, MDB_meta), 64 bits, little-endian.
#include "storage/page_check.hpp"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

namespace dmq {
namespace {

constexpr std::size_t kPageBytes = PageCheck::kPageBytes;
constexpr std::size_t kPageHeaderBytes = 16;
constexpr std::size_t kNodeHeaderBytes = 8;
constexpr std::size_t kKeyBytesMax = 511;
constexpr unsigned kDepthMax = 32;
constexpr std::uint64_t kNoPage = ~std::uint64_t{0};
// Pages that a transaction took at the end of the file and gave back are in it, but nobody wrote them.
constexpr std::uint64_t kUnwrittenPagesMax = 64 * 1024;
constexpr std::uint32_t kMagic = 0xBEEFC0DE;
constexpr std::uint32_t kVersion = 1;
constexpr std::uint16_t kIntegerKeys = 8;  // of a tree
enum PageFlags : std::uint16_t { kBranch = 1, kLeaf = 2, kOverflow = 4, kMetaPage = 8 };
constexpr std::uint16_t kBigData = 1;  // of a node: its value has pages of its own

struct PageHeader {
  std::uint64_t number;
  std::uint16_t pad;
  std::uint16_t flags;
  std::uint16_t lower;  // end of the places of nodes; of an overflow page: with `upper` how many pages it is
  std::uint16_t upper;  // start of the nodes
};
static_assert(sizeof(PageHeader) == kPageHeaderBytes);

struct NodeHeader {
  std::uint16_t low, high;  // bytes of the value, or the page below
  std::uint16_t flags;
  std::uint16_t key_bytes;
};
static_assert(sizeof(NodeHeader) == kNodeHeaderBytes);

struct TreeInfo {
  std::uint32_t pad;
  std::uint16_t flags, depth;
  std::uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};
struct MetaPage {
  PageHeader header;
  std::uint32_t magic, version;
  std::uint64_t address, map_bytes;  // the last one from here on: a commit writes it
  TreeInfo free, main;
  std::uint64_t last_page, transaction;
};
static_assert(sizeof(MetaPage) == PageCheck::kMetaBytes);

template <class T>
T read_at(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::uint64_t integer_of(std::string_view key) { return read_at<std::uint64_t>(key.data()); }

class Checker {
 public:
  Checker(std::string_view file, const PageCheck::Row& row) : file_(file), row_(row) {}

  Result<PageCheck::Meta> run() {
    const auto meta = choose_meta();
    const bool good = meta && check_meta(*meta) && check_tree(meta->free, true) && check_tree(meta->main, false);
    if (!good) return fail(Errc::kInternal, fault_);
    return PageCheck::meta_of(page_at(meta->transaction & 1));
  }

 private:
  struct Node {
    std::string_view key;
    std::uint64_t below = 0;  // in a branch
    std::string_view value;   // in a leaf
  };
  // All keys of a page lie in [low, high).
  struct Bounds {
    std::optional<std::string_view> low, high;
  };
  struct Walk {
    const TreeInfo& info;
    const bool free_list;
    TreeInfo found{};
  };

  bool wrong(std::uint64_t page, const std::string& what) {
    if (fault_.empty()) fault_ = "page " + std::to_string(page) + ": " + what;
    return false;
  }
  std::string_view page_at(std::uint64_t number) const { return file_.substr(number * kPageBytes, kPageBytes); }

  // As LMDB does, but that the two must be of one commit and the next.
  std::optional<MetaPage> choose_meta() {
    if (file_.size() < 2 * kPageBytes) return wrong(0, "the file is cut short"), std::nullopt;
    const std::array<MetaPage, 2> metas{read_at<MetaPage>(page_at(0).data()), read_at<MetaPage>(page_at(1).data())};
    const auto& [first, second] = metas;
    for (std::size_t number = 0; number < metas.size(); ++number) {
      const MetaPage& meta = metas[number];
      const bool good = (meta.header.flags & kMetaPage) != 0 && meta.magic == kMagic && meta.version == kVersion &&
                        meta.free.pad == kPageBytes && meta.free.flags == kIntegerKeys;
      if (!good) return wrong(number, "it is no meta page"), std::nullopt;
    }
    const std::uint64_t newer = std::max(first.transaction, second.transaction);
    const std::uint64_t older = std::min(first.transaction, second.transaction);
    const bool fresh = newer == 0;  // a new file
    if (!fresh && (newer - older != 1 || first.transaction % 2 != 0 || second.transaction % 2 != 1)) {
      return wrong(0, "the two meta pages are not of one commit and the next"), std::nullopt;
    }
    return newer == first.transaction ? first : second;
  }

  bool check_meta(const MetaPage& meta) {
    const std::uint64_t number = meta.transaction & 1;
    transaction_ = meta.transaction;
    pages_in_file_ = file_.size() / kPageBytes;
    if (meta.last_page < 1 || meta.last_page >= pages_in_file_ + kUnwrittenPagesMax) {
      return wrong(number, "the number of the last page is wrong, or the file is cut short");
    }
    if (meta.main.flags != 0 || meta.main.pad != 0) return wrong(number, "the main tree is of another kind");
    last_page_ = meta.last_page;
    used_.assign(last_page_ + 1, false);
    used_[0] = used_[1] = true;
    return true;
  }

  bool check_tree(const TreeInfo& info, bool free_list) {
    const std::uint64_t number = transaction_ & 1;
    Walk walk{info, free_list};
    if (info.depth > kDepthMax) return wrong(number, "a tree is too deep");
    if ((info.root == kNoPage) != (info.depth == 0)) return wrong(number, "a tree has no root");
    if (info.root != kNoPage && !check_page(walk, info.root, 1, {})) return false;
    const TreeInfo& found = walk.found;
    const bool same = found.branch_pages == info.branch_pages && found.leaf_pages == info.leaf_pages &&
                      found.overflow_pages == info.overflow_pages && found.entries == info.entries;
    return same || wrong(number, "a tree does not have as many rows and pages as it should");
  }

  // Takes pages for one use.
  bool take(std::uint64_t first, std::uint64_t count, std::uint64_t by) {
    if (first < 2 || count > last_page_ || first > last_page_ + 1 - count || first + count > pages_in_file_) {
      return wrong(by, "it points out of the file");
    }
    for (std::uint64_t page = first; page < first + count; ++page) {
      if (used_[page]) return wrong(by, "it points to page " + std::to_string(page) + ", which is used already");
      used_[page] = true;
    }
    return true;
  }

  bool check_page(Walk& walk, std::uint64_t number, unsigned level, const Bounds& bounds) {
    if (!take(number, 1, number)) return false;
    const char* const page = page_at(number).data();
    const auto header = read_at<PageHeader>(page);
    const bool leaf = level == walk.info.depth;
    if (header.number != number || header.flags != (leaf ? kLeaf : kBranch)) return wrong(number, "it is another page");
    const std::size_t count = (header.lower - kPageHeaderBytes) / 2;
    if (header.lower < kPageHeaderBytes + 2 || header.lower % 2 != 0 || header.lower > header.upper ||
        header.upper > kPageBytes) {
      return wrong(number, "its header is wrong");
    }
    if (!check_filling(number, page, header, leaf)) return false;
    ++(leaf ? walk.found.leaf_pages : walk.found.branch_pages);
    return leaf ? check_leaf(walk, number, count, bounds) : check_branch(walk, number, count, level, bounds);
  }

  // The nodes fill the page from `upper` to its end, without gaps or overlaps.
  bool check_filling(std::uint64_t number, const char* page, const PageHeader& header, bool leaf) {
    extents_.clear();
    for (std::size_t at = kPageHeaderBytes; at < header.lower; at += 2) {
      const std::size_t place = read_at<std::uint16_t>(page + at);
      if (place % 2 != 0 || place < header.upper || place + kNodeHeaderBytes > kPageBytes) {
        return wrong(number, "the place of a row is wrong");
      }
      const auto node = read_at<NodeHeader>(page + place);
      const std::size_t value = node.low | (std::size_t{node.high} << 16);
      std::size_t bytes = kNodeHeaderBytes + node.key_bytes;
      if (leaf) bytes += node.flags == kBigData ? sizeof(std::uint64_t) : value;
      if (leaf && (node.flags & ~kBigData) != 0) return wrong(number, "a row is of another kind");
      extents_.emplace_back(place, bytes + bytes % 2);
    }
    std::sort(extents_.begin(), extents_.end());
    std::size_t end = header.upper;
    for (const auto& [place, bytes] : extents_) {
      if (place != end || bytes > kPageBytes - place) return wrong(number, "the length of a row is wrong");
      end = place + bytes;
    }
    return end == kPageBytes || wrong(number, "the length of a row is wrong");
  }

  Node node_at(std::uint64_t number, std::size_t index, bool leaf) const {
    const char* const page = page_at(number).data();
    const char* const at = page + read_at<std::uint16_t>(page + kPageHeaderBytes + 2 * index);
    const auto header = read_at<NodeHeader>(at);
    Node node;
    node.key = {at + kNodeHeaderBytes, header.key_bytes};
    const std::uint64_t low = header.low | (std::uint64_t{header.high} << 16);
    if (!leaf) {
      node.below = low | (std::uint64_t{header.flags} << 32);
    } else if (header.flags == kBigData) {
      node.below = read_at<std::uint64_t>(node.key.data() + node.key.size());
      node.value = {nullptr, low};
    } else {
      node.value = {node.key.data() + node.key.size(), low};
    }
    return node;
  }

  static bool is_less(const Walk& walk, std::string_view a, std::string_view b) {
    return walk.free_list ? integer_of(a) < integer_of(b) : a < b;
  }

  bool check_key(const Walk& walk, std::uint64_t number, std::string_view key, const Bounds& bounds) {
    const bool sized = walk.free_list ? key.size() == sizeof(std::uint64_t) : !key.empty();
    if (!sized || key.size() > kKeyBytesMax) return wrong(number, "a key has a wrong length");
    const bool fits =
        (!bounds.low || !is_less(walk, key, *bounds.low)) && (!bounds.high || is_less(walk, key, *bounds.high));
    return fits || wrong(number, "a key is not where it belongs");
  }

  bool check_branch(Walk& walk, std::uint64_t number, std::size_t count, unsigned level, const Bounds& bounds) {
    Bounds below{bounds.low, {}};
    for (std::size_t i = 0; i < count; ++i) {
      const Node node = node_at(number, i, false);
      below.high = bounds.high;
      if (i + 1 < count) {
        const std::string_view next = node_at(number, i + 1, false).key;
        if (!check_key(walk, number, next, {below.low, bounds.high})) return false;
        below.high = next;
      }
      if (!check_page(walk, node.below, level + 1, below)) return false;
      below.low = below.high;
    }
    return true;
  }

  bool check_leaf(Walk& walk, std::uint64_t number, std::size_t count, const Bounds& bounds) {
    std::optional<std::string_view> before;
    for (std::size_t i = 0; i < count; ++i) {
      Node node = node_at(number, i, true);
      if (!check_key(walk, number, node.key, bounds)) return false;
      if (before && !is_less(walk, *before, node.key)) return wrong(number, "its keys do not ascend");
      before = node.key;
      if (node.below != 0 && !take_value(walk, number, node)) return false;
      ++walk.found.entries;
      if (!walk.free_list) {
        row_(node.key, node.value);
      } else if (!check_free(number, node)) {
        return false;
      }
    }
    return true;
  }

  // A value with pages of its own.
  bool take_value(Walk& walk, std::uint64_t number, Node& node) {
    if (node.below < 2 || node.below >= pages_in_file_) return wrong(number, "a row points out of the file");
    const auto header = read_at<PageHeader>(page_at(node.below).data());
    const std::uint64_t pages = header.lower | (std::uint64_t{header.upper} << 16);
    const std::uint64_t needed = (kPageHeaderBytes - 1 + node.value.size()) / kPageBytes + 1;
    if (header.number != node.below || header.flags != kOverflow || pages < needed) {
      return wrong(node.below, "it is another page");
    }
    if (!take(node.below, pages, number)) return false;
    walk.found.overflow_pages += pages;
    node.value = file_.substr(node.below * kPageBytes + kPageHeaderBytes, node.value.size());
    return true;
  }

  // The pages that one transaction freed: their number, then they from the last to the first.
  bool check_free(std::uint64_t number, const Node& node) {
    constexpr std::size_t kEntry = sizeof(std::uint64_t);
    const std::size_t places = node.value.size() / kEntry;
    const std::uint64_t count = places == 0 ? 0 : integer_of(node.value);
    if (places == 0 || node.value.size() % kEntry != 0 || count >= places || integer_of(node.key) > transaction_) {
      return wrong(number, "a list of free pages is wrong");
    }
    std::uint64_t before = last_page_ + 1;
    for (std::size_t i = 1; i <= count; ++i) {
      const std::uint64_t page = integer_of(node.value.substr(i * kEntry));
      if (page >= before || page < 2 || used_[page]) return wrong(number, "a list of free pages is wrong");
      used_[page] = true;
      before = page;
    }
    return true;
  }

  const std::string_view file_;
  const PageCheck::Row& row_;
  std::uint64_t transaction_ = 0;
  std::uint64_t last_page_ = 0;
  std::uint64_t pages_in_file_ = 0;
  std::vector<bool> used_;
  std::vector<std::pair<std::size_t, std::size_t>> extents_;  // of one page: places and bytes
  std::string fault_;
};

}  // namespace

Result<PageCheck::Meta> PageCheck::run(std::string_view file, const Row& row) { return Checker(file, row).run(); }

PageCheck::Meta PageCheck::meta_of(std::string_view page) {
  constexpr std::size_t kFrom = offsetof(MetaPage, free);
  return {read_at<MetaPage>(page.data()).transaction, XXH3_64bits(page.data() + kFrom, sizeof(MetaPage) - kFrom)};
}

}  // namespace dmq
