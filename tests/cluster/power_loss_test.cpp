// A loss of power takes back what was not synced, and nothing else.
#include "tests/cluster/power_loss.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/cluster/command.hpp"
#include "tests/support/daemon.hpp"

using namespace dmq::cluster;

namespace {

constexpr std::size_t kPage = 4096;

// A folder with a store of two pages, and the journals of a program that writes to it.
struct Folder {
  Folder() {
    std::string made = (std::filesystem::temp_directory_path() / "dmq-power-XXXXXX").string();
    REQUIRE(::mkdtemp(made.data()) != nullptr);
    path = made;
    std::filesystem::create_directory(journals());
    std::ofstream(store()) << std::string(kPage, 'a') << std::string(kPage, 'b');
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string journals() const { return path + "/journals"; }
  std::string store() const { return path + "/data.mdb"; }
  std::string content() const {
    std::ifstream file(store(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // dd with the preloaded library. Without `synced` it ends as if it was killed before it could sync.
  void overwrite(char with, std::size_t page, bool synced) const {
    std::ofstream(path + "/new") << std::string(kPage, with);
    Command dd;
    dd.arguments = {"env",
                    "LD_PRELOAD=" + dmq::support::program_beside("libdmq-preload.so"),
                    "DMQ_TEST_JOURNAL=" + journals(),
                    "dd",
                    "if=" + path + "/new",
                    "of=" + store(),
                    "bs=4096",
                    "seek=" + std::to_string(page),
                    synced ? "conv=notrunc,fdatasync" : "conv=notrunc"};
    dd.output = "/dev/null";
    REQUIRE(run_command(dd) == 0);
  }
  std::string path;
};

}  // namespace

TEST_CASE("what was synced survives a loss of power", "[cluster][power]") {
  const Folder folder;
  folder.overwrite('c', 1, true);
  std::mt19937_64 random(1);
  CHECK(lose_power(folder.journals(), random) == 0);
  CHECK(folder.content() == std::string(kPage, 'a') + std::string(kPage, 'c'));
}

TEST_CASE("what was not synced may be there after a loss of power or not", "[cluster][power]") {
  int gone = 0;
  constexpr int kTries = 40;
  for (int i = 0; i < kTries; ++i) {
    const Folder folder;
    folder.overwrite('c', 1, false);
    std::mt19937_64 random(static_cast<unsigned>(i));
    const std::size_t pages = lose_power(folder.journals(), random);
    CHECK(folder.content() == std::string(kPage, 'a') + std::string(kPage, pages == 1 ? 'b' : 'c'));
    gone += static_cast<int>(pages);
  }
  CHECK(gone > 0);
  CHECK(gone < kTries);
}

TEST_CASE("a program that was only killed loses nothing", "[cluster][power]") {
  const Folder folder;
  folder.overwrite('c', 1, false);
  forget_journals(folder.journals());
  std::mt19937_64 random(1);
  CHECK(lose_power(folder.journals(), random) == 0);
  CHECK(folder.content() == std::string(kPage, 'a') + std::string(kPage, 'c'));
}
