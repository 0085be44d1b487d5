// What shells offer at the cursor, read from a command line made here and from those of the programs.
#include "clients/cli/completion.hpp"

#include <catch2/catch.hpp>

#include "clients/cli/recv_flags.hpp"
#include "clients/cli/send_flags.hpp"

namespace dmq::cli {
namespace {

// A program with all that matters: subcommands, options of a parent, choices, hidden things, a group of options.
class Program {
 public:
  Program() {
    app_.fallthrough();
    app_.add_option("--broker", text_, "Where it is");
    app_.add_flag("--json", flag_, "As JSON");
    CLI::App* queue = app_.add_subcommand("queue", "Queues");
    queue->fallthrough();
    CLI::App* create = queue->add_subcommand("create", "Make one");
    create->fallthrough();
    create->add_option("QUEUE", text_, "Its name")->required();
    create->add_option("--confirm", text_, "When")->check(CLI::IsMember({"in_sync", "leader"}));
    create->add_option("-k,--kind", text_, "Which");
    create->add_option("--secret", text_, "Not shown")->group("");
    CLI::App* where = create->add_option_group("where");
    where->add_flag("--anywhere", flag_, "No matter");
    where->add_option("COLOUR", text_)->check(CLI::IsMember({"red", "green"}));
    queue->add_subcommand("hidden", "For scripts")->group("");
  }

  // "create,delete": the candidates for the last of the words behind the program's name.
  std::string offers(std::vector<std::string> words) {
    words.insert(words.begin(), "program");
    std::string all;
    for (const Candidate& each : candidates_for(app_, words, names_)) all += (all.empty() ? "" : ",") + each.text;
    return all;
  }

  std::string asked;  // the prefix and endpoints with which queues were looked for

 private:
  CLI::App app_;
  std::string text_;
  bool flag_ = false;
  QueueNames names_ = [this](const std::string& prefix, const std::string& endpoints) {
    asked = prefix + "@" + endpoints;
    return std::vector<std::string>{"jobs", "journal", "mail"};
  };
};

}  // namespace

TEST_CASE("subcommands are offered by their beginning, hidden ones are not", "[client][cli]") {
  Program program;
  CHECK(program.offers({""}) == "queue");
  CHECK(program.offers({"q"}) == "queue");
  CHECK(program.offers({"x"}).empty());
  CHECK(program.offers({"queue", ""}) == "create");
  CHECK(program.offers({"--broker", "queue", ""}) == "queue");  // 'queue' is a value there
  CHECK(program.offers({"--broker=b", "--json", "queue", ""}) == "create");
  CHECK(program.offers({}).empty());
}

TEST_CASE("options are those of the subcommand and of what is above, hidden ones are not", "[client][cli]") {
  Program program;
  CHECK(program.offers({"queue", "create", "--"}) == "--help,--confirm,--kind,--anywhere,--broker,--json");
  CHECK(program.offers({"queue", "create", "--b"}) == "--broker");
  CHECK(program.offers({"queue", "create", "--se"}).empty());
  CHECK(program.offers({"queue", "create", "--", "--b"}).empty());
}

TEST_CASE("values of an option are those that it takes", "[client][cli]") {
  Program program;
  CHECK(program.offers({"queue", "create", "--confirm", ""}) == "in_sync,leader");
  CHECK(program.offers({"queue", "create", "--confirm", "l"}) == "leader");
  CHECK(program.offers({"queue", "create", "--confirm=l"}) == "--confirm=leader");
  CHECK(program.offers({"queue", "create", "-k", ""}).empty());
  CHECK(program.offers({"queue", "create", "--never", ""}) == "jobs,journal,mail");
}

TEST_CASE("queues are asked for where the line says, and only in their place", "[client][cli]") {
  Program program;
  CHECK(program.offers({"queue", "create", "jo"}) == "jobs,journal");
  CHECK(program.asked == "jo@");
  CHECK(program.offers({"--broker", "there:1", "queue", "create", "--kind", "x", "j"}) == "jobs,journal");
  CHECK(program.asked == "j@there:1");
  CHECK(program.offers({"queue", "create", "jobs", ""}) == "red,green");
  CHECK(program.offers({"queue", "create", "jobs", "red", ""}).empty());
}

TEST_CASE("the command lines of dmq-send and dmq-recv are read as they are", "[client][cli]") {
  CLI::App send;
  SendFlags send_flags;
  add_send_flags(send, send_flags);
  CHECK(candidates_for(send, {"dmq-send", "--rat"}, {}).at(0).text == "--rate");
  CLI::App recv;
  RecvFlags recv_flags;
  add_recv_flags(recv, recv_flags);
  const std::vector<Candidate> acks{{"auto", ""}, {"after", ""}, {"none", ""}};
  CHECK(candidates_for(recv, {"dmq-recv", "--ack", ""}, {}) == acks);
  CHECK(candidates_for(recv, {"dmq-recv", "--foll"}, {}) == std::vector<Candidate>{{"--follow", "Go on until Ctrl-C"}});
}

}  // namespace dmq::cli
