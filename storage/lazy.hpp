// A part that most of its owners never use: it takes a pointer until it is first changed.
#pragma once

#include <memory>

namespace dmq {

template <class T>
class Lazy {
 public:
  const T* operator->() const { return part_ != nullptr ? part_.get() : &none(); }
  T& own() {
    if (part_ == nullptr) part_ = std::make_unique<T>();
    return *part_;
  }

 private:
  static const T& none() {
    static const T empty;
    return empty;
  }

  std::unique_ptr<T> part_;
};

}  // namespace dmq
