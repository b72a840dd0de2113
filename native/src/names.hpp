// Kinds by name. Each function throws std::invalid_argument where the core knows none of that name.
#pragma once

#include <string>
#include <vector>

#include "kinds.hpp"

namespace deltarule {

Activation activation_named(const std::string& name);
Loss loss_named(const std::string& name);
Rule rule_named(const std::string& name);
Kind operation_named(const std::string& name);

// The names in a column of the lists in kinds.hpp.
std::vector<std::string> names_in(const char* list);

}  // namespace deltarule
