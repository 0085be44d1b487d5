// The changes of one step of the controller; private to its sources.
#pragma once

#include "metad/controller.hpp"

namespace dmq {

struct Controller::Turn {
  TimeMs wall;
  std::vector<CatalogChange>& changes;
};

}  // namespace dmq
