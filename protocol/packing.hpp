// Writing MessagePack into a std::string; for the codecs of this folder.
#pragma once

#include <msgpack.hpp>
#include <string>
#include <string_view>

namespace dmq {

// Appends MessagePack values to a string.
class Packer {
 public:
  explicit Packer(std::string& out) : sink_{&out}, packer_(sink_) {}

  void map(std::size_t keys) { packer_.pack_map(static_cast<std::uint32_t>(keys)); }
  void array(std::size_t items) { packer_.pack_array(static_cast<std::uint32_t>(items)); }
  void text(std::string_view value) {
    packer_.pack_str(static_cast<std::uint32_t>(value.size()));
    packer_.pack_str_body(value.data(), static_cast<std::uint32_t>(value.size()));
  }
  void bytes(std::string_view value) {
    packer_.pack_bin(static_cast<std::uint32_t>(value.size()));
    packer_.pack_bin_body(value.data(), static_cast<std::uint32_t>(value.size()));
  }
  void number(std::uint64_t value) { packer_.pack_uint64(value); }
  void boolean(bool value) { value ? packer_.pack_true() : packer_.pack_false(); }
  void nil() { packer_.pack_nil(); }
  void object(const msgpack::object& value) { packer_.pack(value); }
  void raw(std::string_view packed) { sink_.out->append(packed); }

 private:
  struct Sink {
    std::string* out;
    void write(const char* data, std::size_t size) { out->append(data, size); }
  };
  Sink sink_;
  msgpack::packer<Sink> packer_;
};

// A key of a map and its value.
inline void pack_text(Packer& packer, std::string_view key, std::string_view value) {
  packer.text(key);
  packer.text(value);
}
inline void pack_number(Packer& packer, std::string_view key, std::uint64_t value) {
  packer.text(key);
  packer.number(value);
}

}  // namespace dmq
